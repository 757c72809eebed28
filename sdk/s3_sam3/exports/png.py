"""Binary PNGs: one for each instance, as large as the picture."""

from collections.abc import Sequence
from io import BytesIO
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from s3_sam3.exports import files
from s3_sam3.exports.options import ExportOptions
from s3_sam3.exports.pictured import Pictured
from s3_sam3.imaging import rle


def write(items: Sequence[Pictured], folder: Path, options: ExportOptions) -> list[Path]:  # noqa: ARG001 - as every format
    """Write `NAME/LABEL-PROMPT.png`: white is the instance, black is the rest; one bit a pixel."""
    return [
        files.written(
            folder / files.instance_file(item, prompt, instance),
            _png(rle.decode(instance.rle)),
        )
        for item in items
        for prompt, instance in item.found()
    ]


def _png(mask: NDArray[np.uint8]) -> bytes:
    height, width = mask.shape
    # Masks are column-major, and packing those is several times slower.
    rows = np.packbits(np.ascontiguousarray(mask), axis=1)
    stream = BytesIO()
    Image.frombytes("1", (width, height), rows.tobytes()).save(stream, "PNG")
    return stream.getvalue()
