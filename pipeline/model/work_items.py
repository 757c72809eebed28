"""
The views of a picture, and the work items: each prompt about each view.

A view is a part that the model looks at: the whole picture, or a tile.
"""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final

from typing_extensions import override

from pipeline.errors import Refused
from s3_sam3.contracts import limits
from s3_sam3.contracts.errors import ErrorCode
from s3_sam3.contracts.prompts import Box, BoxLabel, Prompt, SegmentOptions


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


#: The text that SAM3 was trained to read when a prompt is boxes alone (`Sam3Processor`).
BOXES_ONLY_TEXT: Final = "visual"

#: Share of an exemplar that a tile must show: a sliver of a cat is no example of a cat.
_SHOWN: Final = 0.5


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkItem:
    """One prompt about one view."""

    place: int
    """The prompt's index in the request."""
    view: int
    """The view's index among the request's views."""
    id: str
    text: str | None
    boxes: tuple[tuple[float, float, float, float], ...]
    """Centre and size, in 0..1 of the view."""
    labels: tuple[int, ...]
    """1 positive, 0 negative."""
    threshold: float | None

    @property
    def words(self) -> str:
        """What the text encoder reads."""
        return self.text or BOXES_ONLY_TEXT


def work_items(prompt: Prompt, *, place: int, views: Sequence[View]) -> Iterator[WorkItem]:
    """
    Give the prompt's work items: one for the first view, and one for each tile it makes sense in.

    A tile leaves out exemplars that it does not show. A tile is left out when neither text nor a
    positive exemplar remains.

    Raises:
        Refused: no text and no box, too many characters, or a box outside of the first view.

    """
    text = prompt_text(prompt)
    for number, view in enumerate(views):
        boxes = prompt.boxes if number == 0 else _shown(prompt.boxes, view)
        if number and text is None and not any(_is_positive(box) for box in boxes):
            continue
        yield WorkItem(
            place=place,
            view=number,
            id=prompt.id or f"p{place}",
            text=text,
            boxes=tuple(_scaled(box, view) for box in boxes),
            labels=tuple(int(_is_positive(box)) for box in boxes),
            threshold=prompt.threshold,
        )


def prompt_text(prompt: Prompt) -> str | None:
    """
    Give the prompt's text without outer spaces, None if it has none.

    Raises:
        Refused: prompt_empty without text and boxes; prompt_too_long by its characters.

    """
    text = (prompt.text or "").strip()
    if not text and not prompt.boxes:
        raise Refused(code=ErrorCode.PROMPT_EMPTY)
    if len(text) > limits.MAX_TEXT_CHARACTERS:
        raise Refused(code=ErrorCode.PROMPT_TOO_LONG)
    return text or None


def clip_box(box: Box, view: View) -> tuple[float, float, float, float]:
    """
    Cut a box to the view: xyxy in pixels of the upright original.

    Raises:
        Refused: prompt_invalid, when nothing of it lies inside.

    """
    left, top, right, bottom = box.xyxy
    cut = (
        max(left, float(view.left)),
        max(top, float(view.top)),
        min(right, float(view.right)),
        min(bottom, float(view.bottom)),
    )
    if cut[0] >= cut[2] or cut[1] >= cut[3]:
        raise Refused(
            f"The box {box.xyxy} lies outside of what is looked at: {view}.",
            code=ErrorCode.PROMPT_INVALID,
        )
    return cut


def _is_positive(box: Box) -> bool:
    return box.label is BoxLabel.POSITIVE


def _shown(boxes: Sequence[Box], tile: View) -> tuple[Box, ...]:
    """Choose the boxes of which the tile shows enough."""

    def share(box: Box) -> float:
        """Part of the box's area that lies in the tile, 0..1."""
        left, top, right, bottom = box.xyxy
        wide = min(right, tile.right) - max(left, tile.left)
        high = min(bottom, tile.bottom) - max(top, tile.top)
        return max(wide, 0) * max(high, 0) / ((right - left) * (bottom - top))

    return tuple(box for box in boxes if share(box) >= _SHOWN)


def _scaled(box: Box, view: View) -> tuple[float, float, float, float]:
    """Give the box's centre and size in 0..1 of the view."""
    left, top, right, bottom = clip_box(box, view)
    return (
        ((left + right) / 2 - view.left) / view.width,
        ((top + bottom) / 2 - view.top) / view.height,
        (right - left) / view.width,
        (bottom - top) / view.height,
    )
