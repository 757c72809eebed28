"""Cut-outs: each instance alone on a transparent ground, cropped to its mask."""

from collections.abc import Sequence
from io import BytesIO
from pathlib import Path

from PIL import Image

from s3_sam3.contracts.manifest import Rle
from s3_sam3.exports import files
from s3_sam3.exports.options import ExportOptions
from s3_sam3.exports.pictured import Pictured
from s3_sam3.imaging import rle as run_lengths


def write(items: Sequence[Pictured], folder: Path, options: ExportOptions) -> list[Path]:  # noqa: ARG001 - as every format
    """Write `NAME/LABEL-PROMPT.png` in RGBA; raises NoPicture or WrongPicture."""
    paths: list[Path] = []
    for item in items:
        picture = item.open()
        paths += [
            files.written(
                folder / files.instance_file(item, prompt, instance), _cut(picture, instance.rle)
            )
            for prompt, instance in item.found()
        ]
    return paths


def _cut(picture: Image.Image, rle: Rle) -> bytes:
    left, top, inside = run_lengths.crop(rle)
    height, width = inside.shape
    part = picture.crop((left, top, left + width, top + height))
    part.putalpha(Image.fromarray(inside))
    stream = BytesIO()
    part.save(stream, "PNG")
    return stream.getvalue()
