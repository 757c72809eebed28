"""
Merge one prompt's candidates of several views of a picture into one list.

A picture that is also segmented in tiles shows an object more than once: small in the whole, large
in a tile, and cut in two where a tile ends. Masks of two views differ by some pixels, and a small
object has much of its area on its edge, so their intersection is compared with the smaller mask.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from s3_sam3.contracts.manifest import Candidate
from s3_sam3.imaging import rle
from s3_sam3.imaging.choose import rank


#: Share of the smaller mask that two masks of one object have in common.
_SAME: Final = 0.5

#: A mask this many times larger is another object that holds the smaller one: a car, its wheel.
_LARGER: Final = 4.0

#: A mask this near to a tile's end is cut there; share of its side, about one cell of SAM3.
_MARGIN: Final = 1 / 256


@dataclass(frozen=True, slots=True)
class Seen:
    """The candidates of one view; boxes and masks are in the whole picture."""

    view: tuple[int, int, int, int]
    """Left, top, right, bottom in pixels."""
    candidates: tuple[Candidate, ...]


def merge(seen: Sequence[Seen], floor: float = 0) -> tuple[Candidate, ...]:
    """
    Keep each object once, best first, with its finest contour and its best score.

    Whole objects are taken first, those of the smallest views before others, since small views show
    the most detail. Objects that a tile's end has cut come next, unless half of one lies in an
    object that is taken already. Two objects of one view are never merged: the model has told them
    apart. Candidates below *floor* come last, so that they do not change the others.
    """
    if len(seen) == 1:
        return seen[0].candidates
    found = _Candidates(seen)
    scores: dict[int, float] = {}
    for place in found.order(floor):
        score = found.candidates[place].score
        known = found.known(place, np.array(list(scores), np.intp))
        if not len(known):
            scores[place] = score
        elif not found.cut[place]:  # a piece does not raise an object's score
            scores.update((other, max(scores[other], score)) for other in known)
    kept = [found.candidates[place].model_copy(update={"score": scores[place]}) for place in scores]
    return tuple(sorted(kept, key=rank))


class _Candidates:
    """The candidates of all views, as columns."""

    def __init__(self, seen: Sequence[Seen]) -> None:
        pairs = [
            (number, candidate)
            for number, one in enumerate(seen)
            for candidate in one.candidates
            if candidate.area
        ]
        self.candidates = [candidate for _, candidate in pairs]
        self._view = np.array([number for number, _ in pairs], np.intp)
        self._area = np.array([candidate.area for candidate in self.candidates], np.float64)
        self._masks = [rle.packed(candidate.rle) for candidate in self.candidates]
        self._boxes = rle.boxes(self._masks)
        self.cut = _cut(self._boxes, _inner_ends(seen)[self._view])
        sides = np.array([one.view for one in seen], np.float64)
        self._size = (sides[:, 2:] - sides[:, :2]).prod(axis=1)

    def order(self, floor: float) -> list[int]:
        """Indices of the candidates in the order of `merge`."""
        size = self._size[self._view]

        def key(at: int) -> tuple[object, ...]:
            one = self.candidates[at]
            return one.score < floor, bool(self.cut[at]), float(size[at]), rank(one)

        return sorted(range(len(self.candidates)), key=key)

    def known(self, place: int, kept: NDArray[np.intp]) -> NDArray[np.intp]:
        """Which of *kept* are the same object in another view."""
        others: NDArray[np.intp] = kept[self._view[kept] != self._view[place]]
        others = others[self._meet(place, others)]
        if not len(others):
            return others
        covered = rle.covered([self._masks[place]], [self._masks[other] for other in others])[0]
        area, areas = self._area[place], self._area[others]
        same = covered * area >= _SAME * np.minimum(area, areas)
        if not self.cut[place]:
            same &= np.maximum(area, areas) <= _LARGER * np.minimum(area, areas)
        return np.asarray(others[same], np.intp)

    def _meet(self, place: int, others: NDArray[np.intp]) -> NDArray[np.bool_]:
        """Which of *others* have a box that intersects this one's."""
        box, boxes = self._boxes[place], self._boxes[others]
        sides = np.minimum(boxes[:, 2:], box[2:]) - np.maximum(boxes[:, :2], box[:2])
        meet: NDArray[np.bool_] = sides.min(axis=1) > 0
        return meet


def _inner_ends(seen: Sequence[Seen]) -> NDArray[np.float64]:
    """Left, top, right, bottom of each view; infinite where the picture ends."""
    ends = np.array([one.view for one in seen], np.float64)
    margin = _MARGIN * (ends[:, 2:] - ends[:, :2])
    low, high = ends[:, :2], ends[:, 2:]
    return np.hstack(
        [
            np.where(low > low.min(axis=0), low + margin, -np.inf),
            np.where(high < high.max(axis=0), high - margin, np.inf),
        ]
    )


def _cut(boxes: NDArray[np.float64], ends: NDArray[np.float64]) -> NDArray[np.bool_]:
    """Whether each box, (n, 4), reaches one of its view's inner ends, (n, 4)."""
    reached = np.hstack([boxes[:, :2] <= ends[:, :2], boxes[:, 2:] >= ends[:, 2:]])
    cut: NDArray[np.bool_] = np.asarray(reached.any(axis=1))
    return cut
