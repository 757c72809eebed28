"""
Which candidates become instances: one rule for a fresh answer and for one that is cut anew.

The rule looks at candidates alone, not at the order they come in, and everything it leaves out
stays a candidate. So choosing again from an answer's instances and candidates gives that answer.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from s3_sam3.contracts.manifest import Candidate, Instance, PromptResult
from s3_sam3.contracts.prompts import SegmentOptions
from s3_sam3.imaging import rle


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """What one prompt found, before anything is chosen."""

    id: str
    text: str | None
    presence: float
    threshold: float | None
    """The prompt's own; None: the options' one."""
    more: bool
    """There were more candidates; those that are missing score no better than the worst here."""
    candidates: tuple[Candidate, ...]

    def lowest(self, options: SegmentOptions) -> float:
        """Score from which something is an instance."""
        return options.threshold if self.threshold is None else self.threshold

    def floor(self, options: SegmentOptions) -> float:
        """Score from which something is kept at all."""
        return min(self.lowest(options), options.floor)


def choose(found: Sequence[Found], options: SegmentOptions) -> tuple[PromptResult, ...]:
    """
    Give one result per prompt, in order; instances are numbered over all of them.

    The best come first, over all prompts: one is taken if it reaches its prompt's threshold and
    the smallest area, does not overlap one already taken (`nms`), and its prompt is not full.
    """
    ranked = [sorted(one.candidates, key=rank) for one in found]
    chosen = [[False] * len(candidates) for candidates in ranked]
    crowded = [one.more and _all_pass(one, options) for one in found]
    taken = [0] * len(found)
    passing = _passing(found, ranked, options)
    rivals = _Rivals([ranked[prompt][place] for prompt, place in passing], options.nms)
    for turn, (prompt, place) in enumerate(passing):
        if rivals.cover(turn):
            continue
        if taken[prompt] == options.max_instances:
            crowded[prompt] = True
            continue
        rivals.take(turn)
        taken[prompt] += 1
        chosen[prompt][place] = True
    results: list[PromptResult] = []
    label = 1
    for one, candidates, picks, full in zip(found, ranked, chosen, crowded, strict=True):
        results.append(_result(one, candidates, picks, options, truncated=full, label=label))
        label += sum(picks)
    return tuple(results)


def rank(candidate: Candidate) -> tuple[object, ...]:
    """Order the best first; equal scores by what they are, so that no order is accidental."""
    return -candidate.score, -candidate.area, candidate.box, candidate.rle.counts


def _all_pass(one: Found, options: SegmentOptions) -> bool:
    """Whether what is missing from the candidates may reach the threshold too."""
    return all(candidate.score >= one.lowest(options) for candidate in one.candidates)


def _passing(
    found: Sequence[Found], ranked: list[list[Candidate]], options: SegmentOptions
) -> list[tuple[int, int]]:
    """List prompt and place of what reaches threshold and area, the best of all prompts first."""
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
    """Part one prompt's candidates into instances, numbered from *label*, and the rest."""
    chosen = [candidate for candidate, pick in zip(candidates, picks, strict=True) if pick]
    rest = [candidate for candidate, pick in zip(candidates, picks, strict=True) if not pick]
    return PromptResult(
        id=one.id,
        text=one.text,
        presence=one.presence,
        truncated=truncated,
        threshold=one.threshold,
        # Where something known falls under the floor, what is missing does too.
        more=one.more and all(other.score >= one.floor(options) for other in candidates),
        instances=tuple(
            _instance(candidate, label + place) for place, candidate in enumerate(chosen)
        ),
        candidates=tuple(_plain(other) for other in rest if other.score >= one.floor(options)),
    )


def _instance(candidate: Candidate, label: int) -> Instance:
    """Number a candidate."""
    return Instance(
        label=label,
        score=candidate.score,
        box=candidate.box,
        area=candidate.area,
        rle=candidate.rle,
    )


def _plain(candidate: Candidate) -> Candidate:
    """Take the number off what was an instance."""
    return Candidate(
        score=candidate.score, box=candidate.box, area=candidate.area, rle=candidate.rle
    )


class _Rivals:
    """Masks that take each other's room, whichever prompts found them."""

    def __init__(self, candidates: Sequence[Candidate], nms: float | None) -> None:
        """Let none be taken that overlaps a taken one by *nms* (IoU) or more; None: let all."""
        self._nms = nms
        if nms is None:
            return
        self._masks = [rle.packed(candidate.rle) for candidate in candidates]
        self._areas = np.array([candidate.area for candidate in candidates], np.float64)
        self._boxes = rle.boxes(self._masks)
        self._taken: list[int] = []

    def take(self, turn: int) -> None:
        """Give a candidate its room."""
        if self._nms is not None:
            self._taken.append(turn)

    def cover(self, turn: int) -> bool:
        """Whether one that was taken overlaps this candidate too much."""
        if self._nms is None or not self._taken:
            return False
        taken = np.array(self._taken)
        near = taken[self._most(turn, taken) >= self._nms]
        overlaps = rle.overlaps([self._masks[turn]], [self._masks[other] for other in near])
        return bool((overlaps >= self._nms).any())

    def _most(self, turn: int, others: NDArray[np.int64]) -> NDArray[np.float64]:
        """The most that each of *others* may overlap, by boxes and areas: (n,), cheap."""
        box, boxes = self._boxes[turn], self._boxes[others]
        area, areas = self._areas[turn], self._areas[others]
        sides = np.minimum(boxes[:, 2:], box[2:]) - np.maximum(boxes[:, :2], box[:2])
        meet = sides.clip(min=0).prod(axis=1)
        shared = np.minimum(meet, np.minimum(areas, area))
        most: NDArray[np.float64] = shared / np.maximum(areas + area - shared, 1)
        return most
