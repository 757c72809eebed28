"""Work items: each prompt about each view it is asked of, with boxes in 0..1 of the view."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final

from pipeline.errors import Refused
from pipeline.model.views import View
from s3_sam3.contracts import limits
from s3_sam3.contracts.errors import ErrorCode
from s3_sam3.contracts.prompts import Box, BoxLabel, Prompt


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
