"""COCO run lengths, by the reference implementation (pycocotools)."""

import numpy as np
from numpy.typing import NDArray
from pycocotools import mask as coco

from contracts.manifest import Rle


def encode(columns: NDArray[np.uint8]) -> list[tuple[Rle, int]]:
    """
    Encode n masks at once; give each with its area in pixels.

    *columns* is (n, width, height), C-contiguous, 0 or 1: column-major masks, as COCO wants them,
    so that no copy is made.
    """
    encoded = coco.encode(columns.transpose(2, 1, 0))
    areas = coco.area(encoded) if encoded else []
    return [
        (Rle(size=tuple(one["size"]), counts=one["counts"].decode("ascii")), int(area))
        for one, area in zip(encoded, areas, strict=True)
    ]


def decode(rle: Rle) -> NDArray[np.uint8]:
    """Give the mask back: (height, width), 0 or 1."""
    mask: NDArray[np.uint8] = coco.decode({"size": list(rle.size), "counts": rle.counts.encode()})
    return mask


def paint(canvas: NDArray[np.uint16], rle: Rle, value: int) -> None:
    """Set the mask's pixels of *canvas*, (height, width), to *value*; touches its box only."""
    packed = {"size": list(rle.size), "counts": rle.counts.encode()}
    left, top, width, height = (int(edge) for edge in coco.toBbox(packed))
    box = (slice(top, top + height), slice(left, left + width))
    np.copyto(canvas[box], np.uint16(value), where=decode(rle)[box].view(np.bool_))
