"""
Hostile and odd files, each with the end it must come to: the right picture, or the right refusal.

All of them are made here, in code; nothing is anybody else's. `PICTURES[name].make()` gives bytes.
"""

from . import foreign, jpegs, pngs, webps
from .case import Odd


PICTURES: dict[str, Odd] = {
    **foreign.PICTURES,
    **{f"JPEG: {name}": odd for name, odd in jpegs.PICTURES.items()},
    **{f"PNG: {name}": odd for name, odd in pngs.PICTURES.items()},
    **{f"WebP: {name}": odd for name, odd in webps.PICTURES.items()},
}
