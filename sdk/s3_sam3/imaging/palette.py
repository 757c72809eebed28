"""The colours of instances or prompts."""

from collections.abc import Sequence
from typing import Final

import numpy as np
from numpy.typing import NDArray

from s3_sam3.contracts.manifest import PromptResult


Colour = tuple[int, int, int]

#: First Okabe and Ito's seven, which colour-blind people can tell apart; then others, far from them
#: and from each other.
COLOURS: Final[tuple[Colour, ...]] = (
    (230, 159, 0),
    (86, 180, 233),
    (0, 158, 115),
    (240, 228, 66),
    (0, 114, 178),
    (213, 94, 0),
    (204, 121, 167),
    (145, 30, 180),
    (160, 220, 40),
    (230, 25, 75),
    (0, 225, 205),
    (154, 99, 36),
    (240, 50, 230),
    (170, 255, 195),
    (0, 0, 180),
    (255, 190, 190),
)

#: Luma (0..255) above which black letters are easier to read than white ones.
_BRIGHT: Final = 140


def by_prompt(results: Sequence[PromptResult]) -> list[int]:
    """Give each instance, in the order of labels, its prompt's colour."""
    return [place % len(COLOURS) for place, result in enumerate(results) for _ in result.instances]


def by_instance(results: Sequence[PromptResult]) -> list[int]:
    """Give each instance, in the order of labels, a colour that no intersecting box has."""
    instances = [instance for result in results for instance in result.instances]
    boxes = np.array([one.box for one in instances]).reshape(-1, 4)
    chosen: list[int] = []
    for place in range(len(instances)):
        taken = {chosen[other] for other in _meeting(boxes, place)}
        order = (index % len(COLOURS) for index in range(place, place + len(COLOURS)))
        chosen.append(next((one for one in order if one not in taken), place % len(COLOURS)))
    return chosen


def _meeting(boxes: NDArray[np.float64], place: int) -> NDArray[np.intp]:
    """Which boxes before *place* intersect its box."""
    box, earlier = boxes[place], boxes[:place]
    gaps = np.maximum(earlier[:, :2], box[:2]) - np.minimum(earlier[:, 2:], box[2:])
    return np.flatnonzero(gaps.max(axis=1, initial=-np.inf) <= 0)


def ink(colour: Colour) -> Colour:
    """Black or white: the one that is easier to read on *colour*."""
    red, green, blue = colour
    luma = 0.299 * red + 0.587 * green + 0.114 * blue
    return (0, 0, 0) if luma > _BRIGHT else (255, 255, 255)
