"""Prompts in the model's terms: words to read, boxes in 0..1, rows that may share a batch."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final

import torch

from contracts.prompts import BoxLabel, Prompt
from pipeline.segmenter import clip_box, prompt_text


#: What SAM3 was taught to read when a prompt is boxes alone (`Sam3Processor`).
BOXES_ONLY_TEXT: Final = "visual"

#: transformers' label of a box that is only padding.
_PADDING: Final = -10


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """One prompt in the model's terms."""

    place: int
    """Its place in the request."""
    id: str
    text: str | None
    boxes: tuple[tuple[float, float, float, float], ...]
    """Centre and size, in 0..1 of the picture."""
    labels: tuple[int, ...]
    """1 positive, 0 negative."""
    threshold: float | None

    @property
    def words(self) -> str:
        """What the text encoder reads."""
        return self.text or BOXES_ONLY_TEXT


def ask(prompt: Prompt, *, place: int, width: int, height: int) -> Asked:
    """
    Translate one prompt about a picture of width x height pixels.

    Raises:
        Refused: no text and no box, too many characters, or a box outside the picture.

    """
    boxes = []
    for box in prompt.boxes:
        left, top, right, bottom = clip_box(box, width, height)
        centre = ((left + right) / 2 / width, (top + bottom) / 2 / height)
        boxes.append((*centre, (right - left) / width, (bottom - top) / height))
    return Asked(
        place=place,
        id=prompt.id or f"p{place}",
        text=prompt_text(prompt),
        boxes=tuple(boxes),
        labels=tuple(int(box.label is BoxLabel.POSITIVE) for box in prompt.boxes),
        threshold=prompt.threshold,
    )


def batches(asked: Sequence[Asked], most: int) -> Iterator[list[Asked]]:
    """
    Split prompts into batches that have boxes and batches that have none.

    In a mixed batch the rows without boxes would still get the geometry encoder's own token and
    answer slightly differently than alone.
    """
    for with_boxes in (False, True):
        rows = [one for one in asked if bool(one.boxes) is with_boxes]
        for start in range(0, len(rows), most):
            yield rows[start : start + most]


def box_rows(
    rows: Sequence[Asked], device: torch.device
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
