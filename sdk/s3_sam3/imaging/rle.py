"""COCO run lengths, encoded and measured by the reference implementation (pycocotools)."""

from collections.abc import Sequence
from typing import Final, NamedTuple, TypedDict

import numpy as np
from numpy.typing import NDArray
from pycocotools import mask as coco

from s3_sam3.contracts.manifest import Rle


#: First character of compressed run lengths; each holds five bits and a flag that more follow.
_ZERO: Final = 48
_BITS: Final = 5
_DIGIT: Final = 0x1F
_MORE: Final = 0x20
_SIGN: Final = 0x10

#: Most characters of a number after its first: 60 bits in all.
_MOST_DIGITS: Final = 11


class Packed(TypedDict):
    """Run lengths as pycocotools takes them."""

    size: list[int]
    counts: bytes


class Crop(NamedTuple):
    """The part of a mask that has pixels."""

    left: int
    top: int
    inside: NDArray[np.bool_]
    """(height, width) of the part."""


def encode(columns: NDArray[np.uint8]) -> list[tuple[Rle, int]]:
    """
    Encode n masks at once; give each with its area in pixels.

    *columns* is (n, width, height), C-contiguous, 0 or 1: masks are column-major, as in COCO, so
    that no copy is made.
    """
    encoded = coco.encode(columns.transpose(2, 1, 0))
    areas = coco.area(encoded) if encoded else []
    return [
        (Rle(size=tuple(one["size"]), counts=one["counts"].decode("ascii")), int(area))
        for one, area in zip(encoded, areas, strict=True)
    ]


def from_flips(flips: NDArray[np.int64], width: int, height: int) -> tuple[Rle, int]:
    """
    Encode the mask that begins and ends, by turns, at *flips*; give its area in pixels too.

    *flips* are column-major indices of pixels (x * height + y), ascending, each once.
    """
    pixels = width * height
    if len(flips) and flips[-1] == pixels:
        flips = flips[:-1]
    runs = np.diff(flips, prepend=0, append=pixels)
    packed = coco.frPyObjects({"counts": runs, "size": [height, width]}, height, width)
    counts = packed["counts"].decode("ascii")
    return Rle(size=(height, width), counts=counts), int(runs[1::2].sum())


def flips(rle: Rle) -> NDArray[np.int64]:
    """
    Give the column-major indices at which the mask begins and ends, by turns.

    pycocotools decodes to bitmaps only, which take a thousand times the memory of a small mask.

    Raises:
        ValueError: these are not run lengths of a mask of that size.

    """
    numbers = _numbers(rle.counts)
    # From the fourth on, a run is stored as the difference from the run before the last.
    numbers[1::2] = numbers[1::2].cumsum()
    numbers[2::2] = numbers[2::2].cumsum()
    if not len(numbers) or numbers.min() < 0 or numbers.sum() != rle.size[0] * rle.size[1]:
        msg = f"these are no run lengths of a mask of {rle.size[1]} x {rle.size[0]} pixels"
        raise ValueError(msg)
    places: NDArray[np.int64] = numbers.cumsum()
    return places[:-1] if len(places) % 2 else places


def _numbers(counts: str) -> NDArray[np.int64]:
    """Read the numbers in compressed run lengths; none if one has no end, or is too long."""
    codes = np.frombuffer(counts.encode("ascii", "replace"), np.uint8) - np.uint8(_ZERO)
    last = np.flatnonzero(codes & _MORE == 0)
    if not len(last) or last[-1] != len(codes) - 1:
        return np.empty(0, np.int64)
    first = np.concatenate(([0], last[:-1] + 1))
    digits = last - first
    if digits.max() > _MOST_DIGITS:
        return np.empty(0, np.int64)
    numbers = (codes[first] & _DIGIT).astype(np.int64)
    for digit in range(1, int(digits.max()) + 1):  # few numbers have a second digit
        longer = np.flatnonzero(digits >= digit)
        numbers[longer] |= (codes[first[longer] + digit] & _DIGIT).astype(np.int64) << _BITS * digit
    negative = codes[last] & _SIGN != 0
    numbers[negative] -= np.int64(1) << _BITS * (digits[negative] + 1)
    return numbers


def decode(rle: Rle) -> NDArray[np.uint8]:
    """Give the mask: (height, width), 0 or 1."""
    mask: NDArray[np.uint8] = coco.decode(packed(rle))
    return mask


def crop(rle: Rle) -> Crop:
    """
    Give the part of the mask that has pixels; of an empty mask a part of size 0.

    Raises:
        ValueError: as in `flips`.

    """
    height = rle.size[0]
    places = flips(rle)
    if not len(places):
        return Crop(0, 0, np.zeros((0, 0), np.bool_))
    left, right = int(places[0]) // height, (int(places[-1]) - 1) // height + 1
    size = [height, right - left]
    runs = np.diff(places - left * height, prepend=0, append=height * (right - left))
    columns = coco.decode(coco.frPyObjects({"counts": runs, "size": size}, *size))
    rows = np.flatnonzero(columns.any(axis=1))
    top, bottom = int(rows[0]), int(rows[-1]) + 1
    return Crop(left, top, np.ascontiguousarray(columns[top:bottom]).view(np.bool_))


def packed(rle: Rle) -> Packed:
    return {"size": list(rle.size), "counts": rle.counts.encode("ascii")}


def boxes(masks: Sequence[Packed]) -> NDArray[np.float64]:
    """Boxes around the masks' pixels: (n, 4) xyxy."""
    found = np.asarray(coco.toBbox(list(masks)), np.float64).reshape(-1, 4)
    found[:, 2:] += found[:, :2]
    return found


def overlaps(one: Sequence[Packed], other: Sequence[Packed]) -> NDArray[np.float64]:
    """Intersection over union of each mask of *one* with each of *other*: (n, m), 0..1."""
    return _iou(one, other, whole=True)


def covered(one: Sequence[Packed], other: Sequence[Packed]) -> NDArray[np.float64]:
    """Share of each mask of *one* that lies under each of *other*: (n, m), 0..1."""
    return _iou(one, other, whole=False)


def _iou(one: Sequence[Packed], other: Sequence[Packed], *, whole: bool) -> NDArray[np.float64]:
    """By pycocotools, which compares only masks whose boxes intersect."""
    if not one or not other:
        return np.zeros((len(one), len(other)))
    # COCO's "crowd" is divided by the area of the first mask instead of by the union.
    crowd = [not whole] * len(other)
    return np.asarray(coco.iou(list(one), list(other), crowd), np.float64)
