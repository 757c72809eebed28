"""
From the model's raw outputs to instances with run lengths, in bounded memory.

The stock post-processing upsamples every mask at once in floats and casts them to int64: 19.7 GiB
for 100 masks of 4032 x 4032. Here the cap comes first, masks are upsampled in chunks, and each
chunk becomes run lengths before the next begins.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Final

import torch

from contracts.manifest import Instance, PromptResult, Rle
from contracts.prompts import SegmentOptions
from masks import rle


#: Bytes one pixel of one mask needs while it is upsampled: float32, bool, and pycocotools' input.
_BYTES_PER_PIXEL: Final = 4 + 1 + 1

#: Digits kept: a millionth of a score, a thousandth of a pixel.
_SCORE_DIGITS, _BOX_DIGITS = 6, 3


@dataclass(frozen=True, slots=True, kw_only=True)
class Kept:
    """What is left of one prompt's queries after threshold and cap, best first."""

    id: str
    text: str | None
    presence: float
    truncated: bool
    scores: torch.Tensor
    """(n,), 0..1: instance probability x presence."""
    boxes: torch.Tensor
    """(n, 4) xyxy in 0..1."""
    logits: torch.Tensor
    """(n, cells, cells): masks at the model's resolution, before the sigmoid."""


def keep(
    *,
    id_: str,
    text: str | None,
    logits: torch.Tensor,
    presence_logit: torch.Tensor,
    boxes: torch.Tensor,
    masks: torch.Tensor,
    threshold: float,
    most: int,
) -> Kept:
    """
    Choose the queries of one prompt that are worth outlining; the rest is dropped at once.

    *logits* is (queries,), *presence_logit* (1,), *boxes* (queries, 4), *masks*
    (queries, cells, cells). At most *most* are kept, best first.
    """
    presence = presence_logit.float().sigmoid()
    scores = logits.float().sigmoid() * presence
    order = scores.argsort(descending=True, stable=True)
    passed = int((scores >= threshold).sum())
    chosen = order[: min(passed, most)]
    return Kept(
        id=id_,
        text=text,
        presence=round(float(presence), _SCORE_DIGITS),
        truncated=passed > most,
        scores=scores[chosen],
        boxes=boxes[chosen].float(),
        logits=masks[chosen].float(),
    )


def on_cpu(kept: Kept) -> Kept:
    """Move what was kept off the GPU."""
    return replace(kept, scores=kept.scores.cpu(), boxes=kept.boxes.cpu(), logits=kept.logits.cpu())


def trace(
    kept: tuple[Kept, ...],
    *,
    width: int,
    height: int,
    options: SegmentOptions,
    chunk_bytes: int,
    check: Callable[[], None] = lambda: None,
) -> tuple[PromptResult, ...]:
    """
    Outline all prompts at width x height pixels; instances are numbered over all of them.

    *check* is called before each prompt and may raise.
    """
    results: list[PromptResult] = []
    label = 1
    for one in kept:
        check()
        masks = outline(
            one.logits,
            width=width,
            height=height,
            mask_threshold=options.mask_threshold,
            chunk_bytes=chunk_bytes,
        )
        results.append(_result(one, masks, label=label, width=width, height=height))
        label += len(masks)
    return tuple(results)


def _result(
    kept: Kept, masks: list[tuple[Rle, int]], *, label: int, width: int, height: int
) -> PromptResult:
    """Put scores, boxes and masks of one prompt together."""
    scores = [round(score, _SCORE_DIGITS) for score in kept.scores.tolist()]
    boxes = _to_pixels(kept.boxes, width, height)
    return PromptResult(
        id=kept.id,
        text=kept.text,
        presence=kept.presence,
        truncated=kept.truncated,
        instances=tuple(
            Instance(label=label + place, score=score, box=box, area=area, rle=mask)
            for place, (score, box, (mask, area)) in enumerate(
                zip(scores, boxes, masks, strict=True)
            )
        ),
    )


def _to_pixels(
    boxes: torch.Tensor, width: int, height: int
) -> list[tuple[float, float, float, float]]:
    """Scale boxes of 0..1 to pixels and cut them to the picture."""
    scale = torch.tensor([width, height, width, height], device=boxes.device)
    rows: list[list[float]] = (boxes.clamp(0, 1) * scale).tolist()
    rounded = [[round(value, _BOX_DIGITS) for value in row] for row in rows]
    return [(left, top, right, bottom) for left, top, right, bottom in rounded]


def outline(
    logits: torch.Tensor, *, width: int, height: int, mask_threshold: float, chunk_bytes: int
) -> list[tuple[Rle, int]]:
    """
    Upsample masks to width x height and encode them; give each with its area in pixels.

    Never more than *chunk_bytes* are upsampled at once, except that one mask always is. The
    threshold is applied to the upsampled logits, as Meta's own post-processing does.
    """
    cut = math.log(mask_threshold / (1 - mask_threshold))
    step = max(1, chunk_bytes // (_BYTES_PER_PIXEL * width * height))
    # Column-major is what run lengths want: upsample the transposed masks, and no copy is needed.
    columns = logits.transpose(1, 2)
    encoded: list[tuple[Rle, int]] = []
    for chunk in torch.split(columns, step):
        encoded += _outline_chunk(chunk, width, height, cut)
    return encoded


def _outline_chunk(
    columns: torch.Tensor, width: int, height: int, cut: float
) -> list[tuple[Rle, int]]:
    """Outline (n, cells, cells) transposed masks; halves them as long as the GPU has no room."""
    if not len(columns):
        return []
    try:
        large = torch.nn.functional.interpolate(
            columns[None], size=(width, height), mode="bilinear", align_corners=False
        )[0]
        bits = (large > cut).to(device="cpu", dtype=torch.uint8)
    except torch.OutOfMemoryError:
        if len(columns) == 1:
            return _outline_chunk(columns.cpu(), width, height, cut)
        half = len(columns) // 2
        return _outline_chunk(columns[:half], width, height, cut) + _outline_chunk(
            columns[half:], width, height, cut
        )
    del large
    return rle.encode(bits.numpy())
