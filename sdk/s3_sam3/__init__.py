"""
The Python SDK: `from s3_sam3 import S3Client`.

Names are imported when they are first asked for. The services import the contract from this
package, and a child process that decodes pictures must not load the whole SDK for it.
"""

import importlib
from typing import TYPE_CHECKING, Any


if TYPE_CHECKING:
    from s3_sam3.client import S3Client
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
    from s3_sam3.settings import ClientSettings

_HOMES = {
    "S3Client": "client",
    "Segmentation": "segmentation",
    "read_manifest": "segmentation",
    "Session": "session",
    "ClientSettings": "settings",
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


def __getattr__(name: str) -> Any:
    if name not in __all__:
        message = f"module {__name__!r} has no attribute {name!r}"
        raise AttributeError(message)
    home = importlib.import_module(f"{__name__}.{_HOMES.get(name, 'errors')}")
    return getattr(home, name)
