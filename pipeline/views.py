"""The parts of a picture that the model looks at."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class View:
    """A rectangle of a picture, in whole pixels of the upright original."""

    left: int
    top: int
    width: int
    height: int
