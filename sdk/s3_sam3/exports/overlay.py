"""The overlay in a style of your choice: the picture, its instances tinted, outlined and named."""

from collections.abc import Sequence
from pathlib import Path

from s3_sam3.exports import files
from s3_sam3.exports.options import ExportOptions
from s3_sam3.exports.pictured import Pictured
from s3_sam3.imaging import overlay as drawing
from s3_sam3.imaging.label_map import label_map
from s3_sam3.imaging.overlay import PLAIN, OverlayStyle


def write(items: Sequence[Pictured], folder: Path, options: ExportOptions) -> list[Path]:
    """Write `NAME.overlay.webp`; raises NoPicture or WrongPicture."""
    return [
        files.written(folder / f"{item.name}.overlay.webp", overlay_webp(item, options.style))
        for item in items
    ]


def overlay_webp(item: Pictured, style: OverlayStyle = PLAIN) -> bytes:
    """Draw one manifest over its picture."""
    picture, manifest = item.open(), item.manifest
    labels = label_map(manifest.prompts, manifest.image.width, manifest.image.height)
    return drawing.overlay_webp(
        picture, labels, manifest.prompts, style=style, demo=manifest.model.demo
    )
