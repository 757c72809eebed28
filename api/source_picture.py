"""
The picture behind an `image_url`: is it the caller's upload, how large is it, and do the region
and the boxes of a request lie on it?

Its size was read at the upload and is kept beside the object, so nothing is decoded again.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from adapters import objects
from api.auth import Principal
from api.problems import Problem
from s3_sam3.contracts import object_keys
from s3_sam3.contracts.bodies import SegmentRequest
from s3_sam3.contracts.errors import ErrorCode
from s3_sam3.contracts.prompts import Box


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
    """Write a size as metadata of an object."""
    return {_WIDTH: str(width), _HEIGHT: str(height)}


async def size_of_upload(store: objects.ObjectStore, key: str, who: Principal) -> Size | None:
    """
    Width and height of an upload of the caller; None where no size is kept beside it.

    Another user's upload and a missing one get the same answer, so neither can be told apart.
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
    """Read what `size_metadata` wrote; None where it is missing or no size."""
    try:
        size = Size(width=int(metadata[_WIDTH]), height=int(metadata[_HEIGHT]))
    except (KeyError, ValueError):
        return None
    return size if min(size.width, size.height) > 0 else None


def check_geometry(request: SegmentRequest, size: Size | None) -> None:
    """
    Refuse a region outside of the picture, or a box outside of the region.

    These are the pipeline's rules, applied before anything is paid: parts that hang out are cut
    off, and something must be left. Without a known size the pipeline is the one to refuse.
    Raises: Problem with INVALID_REQUEST or PROMPT_INVALID; details say which, and the bounds.
    """
    if size is None:
        return
    left, top, right, bottom = _visible(request, size)
    if left >= right or top >= bottom:
        message = f"lies outside of the picture, which is {size.width} x {size.height} pixels"
        fields = [{"field": "region", "message": message}]
        raise Problem(ErrorCode.INVALID_REQUEST, {"fields": fields})
    for index, prompt in enumerate(request.all_prompts):
        for number, box in enumerate(prompt.boxes):
            if not _overlaps(box, (left, top, right, bottom)):
                bounds = [left, top, right, bottom]
                raise Problem(
                    ErrorCode.PROMPT_INVALID, {"prompt": index, "box": number, "looked_at": bounds}
                )


def _visible(request: SegmentRequest, size: Size) -> tuple[int, int, int, int]:
    """The picture, or its region in whole pixels: xyxy."""
    if request.region is None:
        return 0, 0, size.width, size.height
    left, top, right, bottom = request.region
    return (
        math.floor(left),
        math.floor(top),
        min(math.ceil(right), size.width),
        min(math.ceil(bottom), size.height),
    )


def _overlaps(box: Box, bounds: tuple[int, int, int, int]) -> bool:
    left, top, right, bottom = box.xyxy
    return left < bounds[2] and right > bounds[0] and top < bounds[3] and bottom > bounds[1]
