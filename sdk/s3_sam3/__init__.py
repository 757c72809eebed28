"""
The Python SDK: `from s3_sam3 import S3Client`.

Names are imported at their first use: the services import the contract from this package, and a
child process that decodes pictures must not load the whole SDK for it.
"""

import importlib
import logging
from typing import TYPE_CHECKING, Any


if TYPE_CHECKING:
    from s3_sam3.client import ClientSettings, S3Client
    from s3_sam3.errors import (
        ApiError,
        NotSignedIn,
        S3Error,
        SignInFailed,
        TaskCancelled,
        TaskFailed,
        Unreachable,
        UnreadableManifest,
        WaitedTooLong,
    )
    from s3_sam3.segmentation import Segmentation, read_manifest
    from s3_sam3.session import Session

_HOMES = {
    "S3Client": "client",
    "Segmentation": "segmentation",
    "read_manifest": "segmentation",
    "Session": "session",
    "ClientSettings": "client",
}

__all__ = [
    "ApiError",
    "ClientSettings",
    "NotSignedIn",
    "S3Client",
    "S3Error",
    "Segmentation",
    "Session",
    "SignInFailed",
    "TaskCancelled",
    "TaskFailed",
    "Unreachable",
    "UnreadableManifest",
    "WaitedTooLong",
    "read_manifest",
]


# Without it the standard library would print a library's warnings to an app's terminal.
logging.getLogger(__name__).addHandler(logging.NullHandler())


def __getattr__(name: str) -> Any:
    if name not in __all__:
        message = f"module {__name__!r} has no attribute {name!r}"
        raise AttributeError(message)
    home = importlib.import_module(f"{__name__}.{_HOMES.get(name, 'errors')}")
    return getattr(home, name)
