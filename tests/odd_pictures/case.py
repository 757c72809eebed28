"""A file of the corpus, and what must come of it."""

from collections.abc import Callable
from dataclasses import dataclass

from .making import BLUE, GREEN, RED, YELLOW


Colour = tuple[int, int, int]

#: What the four quarters of `making.quarters` show, row by row.
QUARTERS: tuple[Colour, ...] = (RED, GREEN, BLUE, YELLOW)

WHITE, BLACK, GREY = (255, 255, 255), (0, 0, 0), (128, 128, 128)


@dataclass(frozen=True, slots=True, kw_only=True)
class Odd:
    """One file, and what must come of it."""

    make: Callable[[], bytes]
    code: str | None = None
    """The refusal; None: it is a picture."""
    size: tuple[int, int] = (64, 48)
    """Pixels, upright."""
    quarters: tuple[Colour, ...] | None = QUARTERS
    """Colours in the middles of its quarters, row by row; None: not known."""
    frames: int = 1
    within: int = 14
    """Steps of 255 by which a colour may be off: what JPEG and WebP lose."""


def refused(code: str, files: dict[str, Callable[[], bytes]]) -> dict[str, Odd]:
    """Files that are refused with the same code."""
    return {name: Odd(make=make, code=code) for name, make in files.items()}


def flat(colour: Colour) -> tuple[Colour, ...]:
    """Four quarters of one colour."""
    return (colour,) * 4
