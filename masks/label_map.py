"""The label map, for programs: each pixel carries the number of the instance it belongs to."""

from collections.abc import Sequence
from io import BytesIO
from typing import Final

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from contracts.manifest import PromptResult
from masks import rle


#: Largest label in an 8-bit label map.
_LAST_BYTE: Final = 255

Labels = NDArray[np.uint16]


def label_map(results: Sequence[PromptResult], width: int, height: int) -> Labels:
    """Give each pixel the label of the best instance there: (height, width), 0 background."""
    labels = np.zeros((height, width), np.uint16)
    instances = [instance for result in results for instance in result.instances]
    # The worst first: a better one paints over it.
    for instance in sorted(instances, key=lambda one: one.score):
        left, top, inside = rle.crop(instance.rle)
        part = labels[top:, left:][: inside.shape[0], : inside.shape[1]]
        np.copyto(part, np.uint16(instance.label), where=inside)
    return labels


def mask_png(labels: Labels) -> bytes:
    """Write the label map as a grey PNG: 8 bits, or 16 when a label is over 255."""
    small = labels.max(initial=0) <= _LAST_BYTE
    stream = BytesIO()
    picture = Image.fromarray(labels.astype(np.uint8) if small else labels)
    picture.save(stream, "PNG", compress_level=4)
    return stream.getvalue()
