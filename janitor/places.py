"""Where in the bucket a janitor may delete, whatever the database says."""

import re
from typing import Final


RESULTS: Final = "results/"
UPLOADS: Final = "uploads/"

_UUID: Final = "[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}"
_NAME: Final = r"[^/]+"

_FOLDER: Final = re.compile(f"(?:{UPLOADS}{_UUID}/|{RESULTS}{_UUID}/(?:{_UUID}/)?)")
_OBJECT: Final = re.compile(f"(?:{UPLOADS}{_UUID}/{_NAME}|{RESULTS}{_UUID}/{_UUID}/[0-9]+/{_NAME})")


def is_deletable_folder(prefix: str) -> bool:
    """
    Whether *prefix* is all of one user's uploads, or results of one user or of one task.

    The second lock on the door: a fault in the database must not empty the bucket.
    """
    return _FOLDER.fullmatch(prefix) is not None


def is_sweepable(key: str) -> bool:
    """Whether *key* is an upload, or an object of an attempt's results."""
    return _OBJECT.fullmatch(key) is not None
