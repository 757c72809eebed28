"""
Keys of objects in the bucket.

Keys of results hold the attempt's fencing token, so a worker that lost its lease overwrites
nothing: the row names the attempt that counts.
"""

from typing import Final
from uuid import UUID


MANIFEST: Final = "manifest.json"
MASK: Final = "mask.png"
OVERLAY: Final = "overlay.webp"


def upload_key(user_id: UUID, sha256: str, extension: str) -> str:
    """Key of an uploaded picture; the row's `source_image_url`."""
    return f"uploads/{user_id}/{sha256}.{extension}"


def is_upload_of(key: str, user_id: UUID) -> bool:
    """Whether *key* is an upload of that user, and a plain one (no `..`, one level)."""
    prefix = f"uploads/{user_id}/"
    name = key.removeprefix(prefix)
    return key.startswith(prefix) and name != "" and "/" not in name and ".." not in name


def result_prefix(user_id: UUID, task_id: UUID, token: int) -> str:
    """Folder of one attempt's results, with the closing slash."""
    return f"results/{user_id}/{task_id}/{token}/"
