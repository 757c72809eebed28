"""
From the model's raw outputs to results: keep what is worth tracing, trace it, merge views, choose.

Threshold and cap come first: a query that is neither over the threshold nor over the floor is
dropped before its mask is looked at.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Final

import torch

from pipeline.model.contours import Canvas, trace_contours
from pipeline.model.work_items import View
from s3_sam3.contracts import limits
from s3_sam3.contracts.manifest import Candidate, PromptResult
from s3_sam3.contracts.prompts import SegmentOptions
from s3_sam3.imaging.choose import Found, choose
from s3_sam3.imaging.merge import Seen, merge


#: Digits kept of a score: all that a float32 has, so that what differed still does.
_SCORE_DIGITS: Final = 9

#: Digits kept of a box: a thousandth of a pixel.
_BOX_DIGITS: Final = 3


@dataclass(frozen=True, slots=True, kw_only=True)
class Kept:
    """The queries of one prompt in one view that are over the floor, up to the cap, best first."""

    id: str
    text: str | None
    presence: float
    threshold: float | None
    """The prompt's own."""
    more: bool
    """More queries were over the floor than are kept."""
    view: View
    scores: torch.Tensor
    """(n,), 0..1: instance probability x presence."""
    boxes: torch.Tensor
    """(n, 4) xyxy in 0..1 of the view."""
    logits: torch.Tensor
    """(n, cells, cells): masks at the model's resolution, before the sigmoid."""

    @property
    def nbytes(self) -> int:
        """Bytes of the masks; the rest is negligible."""
        return self.logits.nbytes


@dataclass(frozen=True, slots=True, kw_only=True)
class TracedView:
    """What one prompt found in one view, with masks as run lengths at the picture's size."""

    view: View
    found: Found


def keep(
    *,
    id_: str,
    text: str | None,
    logits: torch.Tensor,
    presence_logit: torch.Tensor,
    boxes: torch.Tensor,
    masks: torch.Tensor,
    threshold: float | None,
    lowest: float,
    view: View,
) -> Kept:
    """
    Choose the queries of one prompt that are worth tracing.

    *logits* is (queries,), *presence_logit* (1,), *boxes* (queries, 4), *masks*
    (queries, cells, cells). Those that score *lowest* or more are kept, at most 200, best first.
    """
    presence = presence_logit.float().sigmoid()
    scores = logits.float().sigmoid() * presence
    order = scores.argsort(descending=True, stable=True)
    passed = int((scores >= lowest).sum())
    chosen = order[: min(passed, limits.MAX_INSTANCES)]
    return Kept(
        id=id_,
        text=text,
        presence=round(float(presence), _SCORE_DIGITS),
        threshold=threshold,
        more=passed > limits.MAX_INSTANCES,
        view=view,
        scores=scores[chosen],
        boxes=boxes[chosen].float(),
        logits=masks[chosen].float(),
    )


def on_cpu(kept: Kept) -> Kept:
    """Move what was kept off the GPU."""
    return replace(kept, scores=kept.scores.cpu(), boxes=kept.boxes.cpu(), logits=kept.logits.cpu())


def trace(
    kept: tuple[tuple[Kept, ...], ...],
    *,
    width: int,
    height: int,
    options: SegmentOptions,
    chunk_bytes: int,
) -> tuple[PromptResult, ...]:
    """Trace all prompts in all their views of a picture of width x height; choose instances."""
    found = [
        merged(
            [traced(one, width, height, options.mask_threshold, chunk_bytes) for one in views],
            options,
        )
        for views in kept
    ]
    return choose(found, options)


def traced(
    kept: Kept, width: int, height: int, mask_threshold: float, chunk_bytes: int
) -> TracedView:
    """Trace the masks of one view of a picture of width x height; scale its boxes to pixels."""
    masks = trace_contours(
        kept.logits,
        Canvas(width, height, kept.view),
        mask_threshold=mask_threshold,
        chunk_bytes=chunk_bytes,
    )
    scores = [round(score, _SCORE_DIGITS) for score in kept.scores.tolist()]
    boxes = _to_pixels(kept.boxes, kept.view)
    found = Found(
        id=kept.id,
        text=kept.text,
        presence=kept.presence,
        threshold=kept.threshold,
        more=kept.more,
        candidates=tuple(
            Candidate(score=score, box=box, area=area, rle=mask)
            for score, box, (mask, area) in zip(scores, boxes, masks, strict=True)
        ),
    )
    return TracedView(view=kept.view, found=found)


def _to_pixels(boxes: torch.Tensor, view: View) -> list[tuple[float, float, float, float]]:
    """Scale boxes in 0..1 of the view to the picture's pixels, cut to the view."""
    scale = torch.tensor([view.width, view.height] * 2, device=boxes.device)
    corner = torch.tensor([view.left, view.top] * 2, device=boxes.device)
    rows: list[list[float]] = (boxes.clamp(0, 1) * scale + corner).tolist()
    rounded = [[round(value, _BOX_DIGITS) for value in row] for row in rows]
    return [(left, top, right, bottom) for left, top, right, bottom in rounded]


def merged(views: Sequence[TracedView], options: SegmentOptions) -> Found:
    """Merge what one prompt found in all its views; of very many candidates keep the best."""
    seen = [Seen(one.view.ends, one.found.candidates) for one in views]
    candidates = merge(seen, options.floor)
    most = limits.MAX_INSTANCES_TILED
    # Where all tiles were looked at, they find what the whole view had no query left for.
    complete = views[1:] if len(views) == options.passes > 1 else views
    return replace(
        views[0].found,
        presence=max(one.found.presence for one in views),
        more=any(one.found.more for one in complete) or len(candidates) > most,
        candidates=candidates[:most],
    )
