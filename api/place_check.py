"""
Regions and boxes that lie beside their picture, and so must not be queued.

The pipeline's rules, said before anything is paid: what hangs out is cut off, and something has to
be left. Where the size of the picture is not known, the pipeline is the one to refuse.
"""

import math

from api.problems import Problem
from api.sources import Size
from s3_sam3.contracts.bodies import SegmentRequest
from s3_sam3.contracts.errors import ErrorCode
from s3_sam3.contracts.prompts import Box


def check(request: SegmentRequest, size: Size | None) -> None:
    """
    Refuse a region outside of the picture, or a box outside of what is looked at.

    Raises: Problem with INVALID_REQUEST or PROMPT_INVALID; details say which, and where to be.
    """
    if size is None:
        return
    left, top, right, bottom = _looked_at(request, size)
    if left >= right or top >= bottom:
        message = f"lies outside of the picture, which is {size.width} x {size.height} pixels"
        fields = [{"field": "region", "message": message}]
        raise Problem(ErrorCode.INVALID_REQUEST, {"fields": fields})
    for place, prompt in enumerate(request.all_prompts):
        for number, box in enumerate(prompt.boxes):
            if not _meets(box, (left, top, right, bottom)):
                seen = [left, top, right, bottom]
                raise Problem(
                    ErrorCode.PROMPT_INVALID, {"prompt": place, "box": number, "looked_at": seen}
                )


def _looked_at(request: SegmentRequest, size: Size) -> tuple[int, int, int, int]:
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


def _meets(box: Box, seen: tuple[int, int, int, int]) -> bool:
    left, top, right, bottom = box.xyxy
    return left < seen[2] and right > seen[0] and top < seen[3] and bottom > seen[1]
