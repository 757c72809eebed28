"""
The caller's picture behind an `image_url`: that it was uploaded, and how large it is.

Its size was read when it was uploaded and lies beside the object, so nothing is decoded again.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from adapters import objects
from api.auth import Principal
from api.problems import Problem
from s3_sam3.contracts import object_keys
from s3_sam3.contracts.errors import ErrorCode


_WIDTH: Final = "width"
_HEIGHT: Final = "height"


@dataclass(frozen=True, slots=True, kw_only=True)
class Size:
    """Width and height in pixels, EXIF orientation applied."""

    width: int
    height: int

    @property
    def pixels(self) -> int:
        """Width x height."""
        return self.width * self.height


def size_metadata(width: int, height: int) -> dict[str, str]:
    """What an upload notes beside its object."""
    return {_WIDTH: str(width), _HEIGHT: str(height)}


async def size_of_upload(store: objects.ObjectStore, key: str, who: Principal) -> Size | None:
    """
    Width and height of an upload of the caller; None: it lies there without its size.

    Somebody else's upload and none at all get the same answer, so nobody learns of either.
    Raises: Problem with SOURCE_NOT_FOUND.
    """
    if not object_keys.is_upload_of(key, who.user_id):
        raise Problem(ErrorCode.SOURCE_NOT_FOUND)
    try:
        head = await store.head(key)
    except objects.ObjectNotFound:
        raise Problem(ErrorCode.SOURCE_NOT_FOUND) from None
    return noted_size(head.metadata)


def noted_size(metadata: Mapping[str, str]) -> Size | None:
    """Width and height as `size_metadata` noted them; None: nobody did, or not so."""
    try:
        size = Size(width=int(metadata[_WIDTH]), height=int(metadata[_HEIGHT]))
    except (KeyError, ValueError):
        return None
    return size if min(size.width, size.height) > 0 else None
