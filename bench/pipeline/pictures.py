"""Pictures, and texts of requests about them."""

from io import BytesIO
from typing import Final

import numpy as np
from PIL import Image


SIZES: Final = {640: (640, 480), 2048: (2048, 1536), 4032: (4032, 3024)}
"""Longest side to width and height in pixels; 4032 x 3024 is a telephone's."""


def photo(side: int, seed: int) -> bytes:
    """Draw a JPEG with details everywhere."""
    return jpeg(picture(SIZES[side], seed))


def picture(size: tuple[int, int], seed: int) -> Image.Image:
    """Draw coarse coloured noise of width x height pixels: smooth, and never the same twice."""
    random = np.random.default_rng(seed)
    cells = Image.fromarray(random.integers(0, 256, (18, 24, 3), np.uint8))
    return cells.resize(size, Image.Resampling.BICUBIC)


def jpeg(image: Image.Image) -> bytes:
    """Encode as phones do."""
    buffer = BytesIO()
    image.save(buffer, "JPEG", quality=92)
    return buffer.getvalue()


def words(count: int, seed: int) -> tuple[str, ...]:
    """Give *count* new texts, so that no memory of texts helps."""
    random = np.random.default_rng(seed)
    letters = np.array(list("abcdefghijklmnopqrstuvwxyz"))
    return tuple("".join(random.choice(letters, 6)) for _ in range(count))
