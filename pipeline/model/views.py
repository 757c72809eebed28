"""The views of a picture: the parts that the model looks at, which are the whole and its tiles."""

import math
from dataclasses import dataclass
from typing import Final

from typing_extensions import override

from pipeline.errors import Refused
from s3_sam3.contracts.errors import ErrorCode
from s3_sam3.contracts.prompts import SegmentOptions


#: Share of a tile that its neighbour shows too, so that an object on a border is whole in one.
_OVERLAP: Final = 0.2


@dataclass(frozen=True, slots=True)
class View:
    """A rectangle of a picture, in whole pixels of the upright original."""

    left: int
    top: int
    width: int
    height: int

    @property
    def right(self) -> int:
        """One past its last column."""
        return self.left + self.width

    @property
    def bottom(self) -> int:
        """One past its last row."""
        return self.top + self.height

    @property
    def ends(self) -> tuple[int, int, int, int]:
        """Left, top, right, bottom."""
        return self.left, self.top, self.right, self.bottom

    @override
    def __str__(self) -> str:
        return f"({self.left}, {self.top}, {self.right}, {self.bottom}) in pixels"


def views(width: int, height: int, options: SegmentOptions) -> tuple[View, ...]:
    """
    List the views of a picture of width x height pixels: the whole (or the region), then its tiles.

    Raises:
        Refused: prompt_invalid, when the region lies outside the picture.

    """
    whole = _region(width, height, options)
    if options.tiles == 1:
        return (whole,)
    columns = _parts(whole.left, whole.width, options.tiles)
    rows = _parts(whole.top, whole.height, options.tiles)
    tiles = (View(left, top, wide, high) for top, high in rows for left, wide in columns)
    return (whole, *tiles)


def _region(width: int, height: int, options: SegmentOptions) -> View:
    """Cut the region to the picture, and extend it to whole pixels."""
    if options.region is None:
        return View(0, 0, width, height)
    left, top, right, bottom = options.region
    if left >= width or top >= height:
        raise Refused(
            f"The region {options.region} lies outside the picture of {width} x {height} pixels.",
            code=ErrorCode.PROMPT_INVALID,
        )
    left, top = math.floor(left), math.floor(top)
    return View(
        left, top, min(math.ceil(right), width) - left, min(math.ceil(bottom), height) - top
    )


def _parts(start: int, length: int, count: int) -> list[tuple[int, int]]:
    """Divide one side into *count* equal parts that overlap: start and length of each."""
    part = min(length, math.ceil(length / (1 + (count - 1) * (1 - _OVERLAP))))
    stride = (length - part) / (count - 1)
    return [(start + round(place * stride), part) for place in range(count)]
