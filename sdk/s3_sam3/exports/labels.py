"""The label map: a grey PNG in which each pixel carries the number of its instance."""

from collections.abc import Sequence
from pathlib import Path

from s3_sam3.exports import files
from s3_sam3.exports.options import ExportOptions
from s3_sam3.exports.pictured import Pictured
from s3_sam3.imaging.label_map import label_map, mask_png


def write(items: Sequence[Pictured], folder: Path, options: ExportOptions) -> list[Path]:  # noqa: ARG001 - as every format
    """Write `NAME.labels.png`: 0 is background; 16-bit when there are over 255 instances."""
    return [files.written(folder / f"{item.name}.labels.png", labels_png(item)) for item in items]


def labels_png(item: Pictured) -> bytes:
    """Paint the label map of one manifest, as the service's `mask.png`."""
    size = item.manifest.image
    return mask_png(label_map(item.manifest.prompts, size.width, size.height))
