"""
Which candidates become instances: one rule for a new result and for a re-threshold.

The rule depends on the candidates, not on their order, and what it does not choose stays a
candidate, down to a floor. So choosing again from a manifest needs no model and gives the result of
a new run with these options. There is one exception: a picture in tiles whose first threshold was
below the floor. Then candidates below the floor may have another contour, and with over a thousand
candidates `truncated` may be true too soon.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray
from pydantic import ValidationError

from s3_sam3.contracts.bodies import RethresholdRequest
from s3_sam3.contracts.manifest import Candidate, Instance, Manifest, PromptResult
from s3_sam3.contracts.prompts import SegmentOptions
from s3_sam3.imaging import rle


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """The candidates of one prompt."""

    id: str
    text: str | None
    presence: float
    threshold: float | None
    """The prompt's own; None: that of the options."""
    more: bool
    """More candidates were found than are here; none of them scored better than the worst here."""
    candidates: tuple[Candidate, ...]

    def lowest(self, options: SegmentOptions) -> float:
        return options.threshold if self.threshold is None else self.threshold

    def floor(self, options: SegmentOptions) -> float:
        """Lowest score of a candidate that is kept."""
        return min(self.lowest(options), options.floor)


def choose(found: Sequence[Found], options: SegmentOptions) -> tuple[PromptResult, ...]:
    """
    Give one result per prompt, in order; instances are numbered over all prompts.

    Candidates are taken by score, over all prompts: one becomes an instance if it reaches its
    prompt's threshold and the smallest area, does not overlap an instance (`nms`), and its prompt
    has fewer than `max_instances`.
    """
    ranked = [sorted(one.candidates, key=rank) for one in found]
    chosen = [[False] * len(candidates) for candidates in ranked]
    truncated = [one.more and _all_pass(one, options) for one in found]
    taken = [0] * len(found)
    passing = _passing(found, ranked, options)
    overlaps = _Overlaps([ranked[prompt][place] for prompt, place in passing], options.nms)
    for index, (prompt, place) in enumerate(passing):
        if overlaps.with_taken(index):
            continue
        if taken[prompt] == options.max_instances:
            truncated[prompt] = True
            continue
        overlaps.take(index)
        taken[prompt] += 1
        chosen[prompt][place] = True
    results: list[PromptResult] = []
    label = 1
    for one, candidates, picks, more in zip(found, ranked, chosen, truncated, strict=True):
        results.append(_result(one, candidates, picks, options, truncated=more, label=label))
        label += sum(picks)
    return tuple(results)


def rank(candidate: Candidate) -> tuple[object, ...]:
    """Sort key, best first; equal scores by their content, so that the order is always the same."""
    return -candidate.score, -candidate.area, candidate.box, candidate.rle.counts


def _all_pass(one: Found, options: SegmentOptions) -> bool:
    """Whether the candidates that are not here may reach the threshold too."""
    return all(candidate.score >= one.lowest(options) for candidate in one.candidates)


def _passing(
    found: Sequence[Found], ranked: list[list[Candidate]], options: SegmentOptions
) -> list[tuple[int, int]]:
    """Prompt and place of the candidates that reach threshold and area, by score."""
    passing = [
        (prompt, place)
        for prompt, one in enumerate(found)
        for place, candidate in enumerate(ranked[prompt])
        if candidate.score >= one.lowest(options) and candidate.area >= options.min_area
    ]
    return sorted(passing, key=lambda at: -ranked[at[0]][at[1]].score)


def _result(
    one: Found,
    candidates: list[Candidate],
    picks: list[bool],
    options: SegmentOptions,
    *,
    truncated: bool,
    label: int,
) -> PromptResult:
    """Split one prompt's candidates into instances, numbered from *label*, and the rest."""
    chosen = [candidate for candidate, pick in zip(candidates, picks, strict=True) if pick]
    rest = [candidate for candidate, pick in zip(candidates, picks, strict=True) if not pick]
    return PromptResult(
        id=one.id,
        text=one.text,
        presence=one.presence,
        truncated=truncated,
        threshold=one.threshold,
        # If a candidate here is below the floor, those that are not here are too.
        more=one.more and all(other.score >= one.floor(options) for other in candidates),
        instances=tuple(
            _instance(candidate, label + place) for place, candidate in enumerate(chosen)
        ),
        candidates=tuple(_plain(other) for other in rest if other.score >= one.floor(options)),
    )


def _instance(candidate: Candidate, label: int) -> Instance:
    return Instance(
        label=label,
        score=candidate.score,
        box=candidate.box,
        area=candidate.area,
        rle=candidate.rle,
    )


def _plain(candidate: Candidate) -> Candidate:
    return Candidate(
        score=candidate.score, box=candidate.box, area=candidate.area, rle=candidate.rle
    )


class _Overlaps:
    """Which masks overlap a taken one, whichever prompts found them."""

    def __init__(self, candidates: Sequence[Candidate], nms: float | None) -> None:
        """*nms* is the IoU from which two masks overlap; None: no mask overlaps another."""
        self._nms = nms
        if nms is None:
            return
        self._masks = [rle.packed(candidate.rle) for candidate in candidates]
        self._areas = np.array([candidate.area for candidate in candidates], np.float64)
        self._boxes = rle.boxes(self._masks)
        self._taken: list[int] = []

    def take(self, index: int) -> None:
        if self._nms is not None:
            self._taken.append(index)

    def with_taken(self, index: int) -> bool:
        """Whether a candidate overlaps one that was taken."""
        if self._nms is None or not self._taken:
            return False
        taken = np.array(self._taken)
        near = taken[self._bound(index, taken) >= self._nms]
        overlaps = rle.overlaps([self._masks[index]], [self._masks[other] for other in near])
        return bool((overlaps >= self._nms).any())

    def _bound(self, index: int, others: NDArray[np.int64]) -> NDArray[np.float64]:
        """An upper bound of the IoU with each of *others*, by boxes and areas: (n,), cheap."""
        box, boxes = self._boxes[index], self._boxes[others]
        area, areas = self._areas[index], self._areas[others]
        sides = np.minimum(boxes[:, 2:], box[2:]) - np.maximum(boxes[:, :2], box[:2])
        common = sides.clip(min=0).prod(axis=1)
        shared = np.minimum(common, np.minimum(areas, area))
        bound: NDArray[np.float64] = shared / np.maximum(areas + area - shared, 1)
        return bound


class RethresholdError(ValueError):
    """The manifest cannot answer the request."""


class BelowFloor(RethresholdError):
    """The manifest keeps no candidates that scored so low."""


class UnknownPrompt(RethresholdError):
    """The manifest has no such prompt."""


class UnfitOptions(RethresholdError):
    """The options contradict each other."""


def rethreshold(manifest: Manifest, request: RethresholdRequest) -> Manifest:
    """
    Choose the instances of *manifest* again; fields that *request* leaves out stay as they were.

    Raises:
        BelowFloor: a threshold is lower than what the manifest keeps.
        UnknownPrompt: a threshold names a prompt that the manifest does not have.
        UnfitOptions: more instances than a picture without tiles can have.

    """
    _check_ids(manifest, request.thresholds)
    options = _options(manifest.options, request)
    before = [_found(result) for result in manifest.prompts]
    after = [
        replace(one, threshold=request.thresholds.get(one.id, one.threshold)) for one in before
    ]
    for old, new in zip(before, after, strict=True):
        _check_floor(new.lowest(options), old.floor(manifest.options), new.id)
    return manifest.model_copy(update={"options": options, "prompts": choose(after, options)})


def _check_ids(manifest: Manifest, thresholds: Mapping[str, float]) -> None:
    known = [result.id for result in manifest.prompts]
    unknown = [id_ for id_ in thresholds if id_ not in known]
    if unknown:
        raise UnknownPrompt(
            f"This result has no prompt {_listed(unknown)}; it has {_listed(known)}."
        )


def _listed(ids: list[str]) -> str:
    return ", ".join(f"`{id_}`" for id_ in ids)


def _options(old: SegmentOptions, request: RethresholdRequest) -> SegmentOptions:
    changes = request.model_dump(exclude={"thresholds"}, exclude_none=True)
    try:
        return SegmentOptions.model_validate({**old.model_dump(), **changes})
    except ValidationError as error:
        raise UnfitOptions("; ".join(detail["msg"] for detail in error.errors())) from error


def _found(result: PromptResult) -> Found:
    """Everything that the manifest keeps of one prompt."""
    return Found(
        id=result.id,
        text=result.text,
        presence=result.presence,
        threshold=result.threshold,
        more=bool(result.more),
        candidates=result.instances + result.candidates,
    )


def _check_floor(threshold: float, floor: float, id_: str) -> None:
    if threshold < floor:
        raise BelowFloor(
            f"This result keeps what scored {floor:g} or more for prompt `{id_}`; for a threshold"
            f" of {threshold:g} submit the picture again with a `floor` as low."
        )
