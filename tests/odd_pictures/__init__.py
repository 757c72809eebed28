"""
Hostile and odd files, each with what must come of it: the right picture, or the right refusal.

All of them are made here, in code. `PICTURES[name].make()` gives bytes.
"""

from dataclasses import replace
from functools import cache

from . import foreign, jpegs, pngs, webps
from .case import Odd


_EACH: dict[str, Odd] = {
    **foreign.PICTURES,
    **{f"JPEG: {name}": odd for name, odd in jpegs.PICTURES.items()},
    **{f"PNG: {name}": odd for name, odd in pngs.PICTURES.items()},
    **{f"WebP: {name}": odd for name, odd in webps.PICTURES.items()},
}

#: Several suites look at each; to pack a bomb takes a second.
PICTURES: dict[str, Odd] = {name: replace(odd, make=cache(odd.make)) for name, odd in _EACH.items()}
