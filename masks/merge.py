"""
One prompt's candidates of several views of a picture become one list.

A picture that is also read in tiles shows an object more than once: small in the whole, large in a
tile, and cut in two where a tile ends. Views do not agree to the pixel, and an object of ten pixels
has half of its area on its edge, so what two of them share is measured against the smaller one.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from contracts.manifest import Candidate
from masks import rle
from masks.choose import rank


#: Share of the smaller mask from which two are the same object.
_SAME: Final = 0.5

#: A mask so many times as large holds the other one as another object: a car, and its wheel.
_LARGER: Final = 4.0

#: A mask that comes so near a tile's end is cut there: share of its side, about a cell of SAM3's.
_MARGIN: Final = 1 / 256


@dataclass(frozen=True, slots=True)
class Seen:
    """What one view shows; boxes and masks are those of the whole picture."""

    view: tuple[int, int, int, int]
    """Left, top, right, bottom in pixels."""
    candidates: tuple[Candidate, ...]


def merge(seen: Sequence[Seen]) -> tuple[Candidate, ...]:
    """
    Keep each object once, best first.

    Objects that are whole go first, by score. Then what a tile's end has cut, unless half of it
    lies in an object that is there already. Two objects of one view are never made one: the model
    has told them apart.
    """
    if len(seen) == 1:
        return seen[0].candidates
    found = _Found(seen)
    kept: list[int] = []
    for place in found.order():
        if not found.known(place, np.array(kept, np.intp)):
            kept.append(place)
    return tuple(sorted((found.candidates[place] for place in kept), key=rank))


class _Found:
    """The candidates of all views, as columns."""

    def __init__(self, seen: Sequence[Seen]) -> None:
        """Measure them."""
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
        self._cut = _cut(self._boxes, _inner_ends(seen)[self._view])

    def order(self) -> list[int]:
        """Places of the candidates: whole ones, then cut ones; the best of each first."""
        places = range(len(self.candidates))
        return sorted(places, key=lambda at: (bool(self._cut[at]), rank(self.candidates[at])))

    def known(self, place: int, kept: NDArray[np.intp]) -> bool:
        """Whether another view's object among *kept* is this one."""
        others = kept[self._view[kept] != self._view[place]]
        others = others[self._meet(place, others)]
        if not len(others):
            return False
        covered = rle.covered([self._masks[place]], [self._masks[other] for other in others])[0]
        area, areas = self._area[place], self._area[others]
        same = covered * area >= _SAME * np.minimum(area, areas)
        if not self._cut[place]:
            same &= np.maximum(area, areas) <= _LARGER * np.minimum(area, areas)
        return bool(same.any())

    def _meet(self, place: int, others: NDArray[np.intp]) -> NDArray[np.bool_]:
        """Which of *others* have a box that shares pixels with this one's."""
        box, boxes = self._boxes[place], self._boxes[others]
        sides = np.minimum(boxes[:, 2:], box[2:]) - np.maximum(boxes[:, :2], box[:2])
        meet: NDArray[np.bool_] = sides.min(axis=1) > 0
        return meet


def _inner_ends(seen: Sequence[Seen]) -> NDArray[np.float64]:
    """Left, top, right, bottom of each view; infinity where all views end."""
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
