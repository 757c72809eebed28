"""The label map, for programs: each pixel holds the number of its instance."""

import zlib
from collections.abc import Iterator, Sequence
from io import BytesIO
from typing import Final

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from s3_sam3.contracts.manifest import Instance, PromptResult
from s3_sam3.imaging import rle


#: Largest label in an 8-bit label map.
_LAST_BYTE: Final = 255

#: Beginnings and ends of runs that are sorted at once; they take about 25 MB.
_MOST_FLIPS: Final = 2**19

#: Masks whose topmost one a float64 can tell: it has 53 bits.
_LAYERS: Final = 52

#: Pixels painted at once, so that they stay in the processor's cache.
_PIECE: Final = 2**18

Labels = NDArray[np.uint8] | NDArray[np.uint16]
"""(height, width), 0 background; bytes as long as no label is over 255."""


def label_map(results: Sequence[PromptResult], width: int, height: int) -> Labels:
    """
    Give each pixel the label of the best instance there: (height, width), 0 background.

    Time and memory grow with the contours and with the picture, not with masks times pixels.

    Raises:
        ValueError: invalid run lengths, or those of a picture of another size.

    """
    instances = [instance for result in results for instance in result.instances]
    most = max((one.label for one in instances), default=0)
    kind = np.uint8 if most <= _LAST_BYTE else np.uint16
    columns: NDArray[np.unsignedinteger] = np.zeros(width * height, kind)
    # The worst first: a better one paints over it.
    instances.sort(key=lambda one: one.score)
    for flips, labels in _batches(instances, (height, width)):
        _paint(columns, flips, np.array([0, *labels], columns.dtype))
    return np.ascontiguousarray(columns.reshape(width, height).T)


def mask_png(labels: Labels) -> bytes:
    """Write the label map as a grey PNG: 8 bits, or 16 when a label is over 255."""
    small = labels.max(initial=0) <= _LAST_BYTE
    stream = BytesIO()
    picture = Image.fromarray(labels.astype(np.uint8, copy=False) if small else labels)
    # A label map consists of runs; zlib's run-length strategy is quicker here, and packs better.
    picture.save(stream, "PNG", compress_type=zlib.Z_RLE)
    return stream.getvalue()


def _batches(
    instances: Sequence[Instance], size: tuple[int, int]
) -> Iterator[tuple[list[NDArray[np.int64]], list[int]]]:
    """Unpack masks in batches of at most _MOST_FLIPS; a mask is never split."""
    flips: list[NDArray[np.int64]] = []
    labels: list[int] = []
    for instance in instances:
        if instance.rle.size != size:
            msg = f"a mask of {instance.rle.size} pixels in a picture of {size}"
            raise ValueError(msg)
        mine = rle.flips(instance.rle)
        if flips and sum(map(len, flips)) + len(mine) > _MOST_FLIPS:
            yield flips, labels
            flips, labels = [], []
        if len(mine):
            flips.append(mine)
            labels.append(instance.label)
    if flips:
        yield flips, labels


def _paint(
    columns: NDArray[np.uint8] | NDArray[np.uint16],
    flips: Sequence[NDArray[np.int64]],
    labels: NDArray[np.uint8] | NDArray[np.uint16],
) -> None:
    """Paint masks on a column-major picture, the last one on top; *labels* begins with 0."""
    bits = len(flips).bit_length()
    # Sorting plain numbers is many times faster than sorting indices of two arrays; a stable sort
    # merges parts that are sorted already.
    both = np.concatenate([mine << bits | layer for layer, mine in enumerate(flips)])
    both.sort(kind="stable")
    places = both >> bits
    topmost = labels[_topmost(both & (1 << bits) - 1, len(flips))]
    painted = np.repeat(topmost[:-1], np.diff(places))
    under = columns[int(places[0]) : int(places[-1])]
    for start in range(0, len(painted), _PIECE):
        piece = painted[start : start + _PIECE]
        np.copyto(under[start : start + _PIECE], piece, where=piece != 0)


def _topmost(layers: NDArray[np.int64], count: int) -> NDArray[np.int32]:
    """Which of *count* masks is on top after each flip of *layers*: 1 …; 0: none."""
    top = np.zeros(len(layers), np.int32)
    for lowest in range(0, count, _LAYERS):
        here = layers - lowest
        mine = (here >= 0) & (here < _LAYERS)
        # Each flip opens or closes its mask; open masks are bits, and the highest one is on top.
        opened = np.bitwise_xor.accumulate(np.where(mine, 1 << (here & 63), 0))
        highest = np.frexp(opened.astype(np.float64))[1]
        np.copyto(top, highest + lowest, where=highest > 0)
    return top
