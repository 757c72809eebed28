"""
From the model's raw outputs to results: what is worth contour_trace, outlined, merged and chosen.

The cap comes first: a query that neither the threshold nor the floor lets through is dropped before
its mask is looked at.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Final

import torch

from pipeline.model.contours import Canvas, trace_contours
from pipeline.model.views import View
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
    """What is left of one prompt's queries in one view after floor and cap, best first."""

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
        """Bytes of the masks; the rest is nothing beside them."""
        return self.logits.nbytes


@dataclass(frozen=True, slots=True, kw_only=True)
class TracedView:
    """The same with run lengths in the masks' place."""

    id: str
    text: str | None
    presence: float
    threshold: float | None
    more: bool
    view: View
    candidates: tuple[Candidate, ...]


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
    Choose the queries of one prompt that are worth contour_trace; the rest is dropped at once.

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
    check: Callable[[], None] = lambda: None,
) -> tuple[PromptResult, ...]:
    """
    Outline all prompts, each in all its views, on a picture of width x height; choose instances.

    *check* is called before each view of a prompt and may raise.
    """

    def traced_one(one: Kept) -> TracedView:
        """Outline one view, if that is still wanted."""
        check()
        return traced(one, width, height, options.mask_threshold, chunk_bytes)

    found = [merged([traced_one(one) for one in views], options) for views in kept]
    return choose(found, options)


def traced(
    kept: Kept, width: int, height: int, mask_threshold: float, chunk_bytes: int
) -> TracedView:
    """Put scores, boxes and masks of one view of a picture of width x height together."""
    masks = trace_contours(
        kept.logits,
        Canvas(width, height, kept.view),
        mask_threshold=mask_threshold,
        chunk_bytes=chunk_bytes,
    )
    scores = [round(score, _SCORE_DIGITS) for score in kept.scores.tolist()]
    boxes = _to_pixels(kept.boxes, kept.view)
    return TracedView(
        id=kept.id,
        text=kept.text,
        presence=kept.presence,
        threshold=kept.threshold,
        more=kept.more,
        view=kept.view,
        candidates=tuple(
            Candidate(score=score, box=box, area=area, rle=mask)
            for score, box, (mask, area) in zip(scores, boxes, masks, strict=True)
        ),
    )


def _to_pixels(boxes: torch.Tensor, view: View) -> list[tuple[float, float, float, float]]:
    """Scale boxes of 0..1 of the view to the picture's pixels and cut them to the view."""
    scale = torch.tensor([view.width, view.height] * 2, device=boxes.device)
    corner = torch.tensor([view.left, view.top] * 2, device=boxes.device)
    rows: list[list[float]] = (boxes.clamp(0, 1) * scale + corner).tolist()
    rounded = [[round(value, _BOX_DIGITS) for value in row] for row in rows]
    return [(left, top, right, bottom) for left, top, right, bottom in rounded]


def merged(views: Sequence[TracedView], options: SegmentOptions) -> Found:
    """Say what one prompt found in all its views; of very many candidates the best."""
    seen = [Seen(one.view.ends, one.candidates) for one in views]
    candidates = merge(seen, options.floor)
    most = limits.MAX_INSTANCES_TILED
    # What the whole had no query left for is seen by the tiles, when all of them were looked at.
    complete = views[1:] if len(views) == options.passes > 1 else views
    return Found(
        id=views[0].id,
        text=views[0].text,
        presence=max(one.presence for one in views),
        threshold=views[0].threshold,
        more=any(one.more for one in complete) or len(candidates) > most,
        candidates=candidates[:most],
    )
