"""Prompts in the model's terms: words to read, boxes in 0..1 of a view, rows of one batch."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final

import torch

from pipeline.model.segmentation_model import clip_box, prompt_text
from pipeline.model.views import View
from s3_sam3.contracts.prompts import Box, BoxLabel, Prompt


#: What SAM3 was taught to read when a prompt is boxes alone (`Sam3Processor`).
BOXES_ONLY_TEXT: Final = "visual"

#: transformers' label of a box that is only padding.
_PADDING: Final = -10

#: Share of an exemplar that a tile must show: a sliver of a cat is no example of a cat.
_SHOWN: Final = 0.5


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkItem:
    """One prompt about one view, in the model's terms."""

    place: int
    """The prompt's place in the request."""
    view: int
    """The view's place among the request's views."""
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
    Translate one prompt: for the first view always, for each tile behind it if it makes sense.

    An exemplar that a tile does not show is left out there. A tile is not asked at all when
    neither words nor a positive exemplar are left.

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


def _is_positive(box: Box) -> bool:
    """Whether the box shows what is looked for."""
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


def box_rows(
    rows: Sequence[WorkItem], device: torch.device
) -> tuple[torch.Tensor | None, torch.Tensor | None]:
    """Box prompts padded to the same number: (n, most, 4) float32 and labels (n, most)."""
    most = max(len(row.boxes) for row in rows)
    if most == 0:
        return None, None
    boxes = torch.zeros(len(rows), most, 4)
    labels = torch.full((len(rows), most), _PADDING)
    for place, row in enumerate(rows):
        boxes[place, : len(row.boxes)] = torch.tensor(row.boxes)
        labels[place, : len(row.boxes)] = torch.tensor(row.labels)
    return boxes.to(device), labels.to(device)
