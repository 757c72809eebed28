"""Binary PNGs: one for each instance, as large as the picture."""

from collections.abc import Sequence
from io import BytesIO
from pathlib import Path

from PIL import Image

from client.exports import files
from client.exports.options import ExportOptions
from client.exports.pictured import Pictured
from masks import rle


def write(items: Sequence[Pictured], folder: Path, options: ExportOptions) -> list[Path]:  # noqa: ARG001 - as every format
    """Write `NAME/LABEL-PROMPT.png`: white is the instance, black is the rest; one bit a pixel."""
    return [
        files.written(
            folder / files.instance_file(item, prompt, instance),
            _png(Image.fromarray(rle.decode(instance.rle) * 255).convert("1", dither=None)),
        )
        for item in items
        for prompt, instance in item.found()
    ]


def _png(picture: Image.Image) -> bytes:
    stream = BytesIO()
    picture.save(stream, "PNG")
    return stream.getvalue()
