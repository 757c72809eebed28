"""
The caller's picture behind an `image_url`: that it was uploaded, and how many pixels it has.

Its size was read when it was uploaded and lies beside the object, so nothing is decoded again.
"""

from collections.abc import Mapping
from typing import Final

from adapters import objects
from api.auth import Principal
from api.problems import Problem
from contracts import object_keys
from contracts.errors import ErrorCode


_WIDTH: Final = "width"
_HEIGHT: Final = "height"


def size_metadata(width: int, height: int) -> dict[str, str]:
    """What an upload notes beside its object."""
    return {_WIDTH: str(width), _HEIGHT: str(height)}


async def pixels_of_upload(store: objects.ObjectStore, key: str, who: Principal) -> int | None:
    """
    Width x height of an upload of the caller; None: it lies there without its size.

    Somebody else's upload and none at all get the same answer, so nobody learns of either.
    Raises: Problem with SOURCE_NOT_FOUND.
    """
    if not object_keys.is_upload_of(key, who.user_id):
        raise Problem(ErrorCode.SOURCE_NOT_FOUND)
    try:
        head = await store.head(key)
    except objects.ObjectNotFound:
        raise Problem(ErrorCode.SOURCE_NOT_FOUND) from None
    return pixels(head.metadata)


def pixels(metadata: Mapping[str, str]) -> int | None:
    """Width x height as `size_metadata` noted them; None: nobody did, or not so."""
    try:
        size = int(metadata[_WIDTH]) * int(metadata[_HEIGHT])
    except (KeyError, ValueError):
        return None
    return size if size > 0 else None
