"""Other formats than the manifest, made from manifests without the GPU."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Final

from s3_sam3.exports import datasets, rasters, vectors
from s3_sam3.exports.items import (
    ExportOptions,
    NoPicture,
    Pictured,
    WrongPicture,
    with_unique_names,
)
from s3_sam3.imaging.overlay import OverlayStyle


__all__ = [
    "FORMATS",
    "ExportOptions",
    "Format",
    "FormatName",
    "NoPicture",
    "OverlayStyle",
    "Pictured",
    "WrongPicture",
    "export",
]


class FormatName(StrEnum):
    COCO = "coco"
    YOLO = "yolo"
    POLYGONS = "polygons"
    GEOJSON = "geojson"
    PNG = "png"
    CUTOUT = "cutout"
    OVERLAY = "overlay"
    LABELS = "labels"


@dataclass(frozen=True, slots=True)
class Format:
    description: str
    """One sentence for `s3 export --help`."""
    write: Callable[[Sequence[Pictured], Path, ExportOptions], list[Path]]
    uses_picture: bool = False
    """It draws on the picture, or copies it."""


FORMATS: Final[dict[FormatName, Format]] = {
    FormatName.COCO: Format(
        "One coco.json for all pictures; exact run lengths, or polygons.", datasets.write_coco
    ),
    FormatName.YOLO: Format(
        "A YOLO-seg data set: classes, pictures, a label file for each.",
        datasets.write_yolo,
        uses_picture=True,
    ),
    FormatName.POLYGONS: Format(
        "A JSON file for each picture: outer rings and holes in pixels.", vectors.write_polygons
    ),
    FormatName.GEOJSON: Format(
        "A FeatureCollection for each picture, in pixels, y downwards.", vectors.write_geojson
    ),
    FormatName.PNG: Format(
        "A black and white PNG for each instance, as large as the picture.", rasters.write_pngs
    ),
    FormatName.CUTOUT: Format(
        "Each instance cut out of the picture, on a transparent background.",
        rasters.write_cutouts,
        uses_picture=True,
    ),
    FormatName.OVERLAY: Format(
        "The picture with its instances tinted, outlined and named.",
        rasters.write_overlays,
        uses_picture=True,
    ),
    FormatName.LABELS: Format(
        "A grey PNG for each picture: each pixel holds its instance's number.",
        rasters.write_label_maps,
    ),
}


def export(
    items: Sequence[Pictured],
    format_: FormatName | str,
    folder: str | Path,
    options: ExportOptions | None = None,
) -> list[Path]:
    """
    Write manifests in a format into *folder* and give the paths of the files.

    Several manifests make one COCO or YOLO data set. Raises NoPicture, WrongPicture, or ValueError
    for an unknown format.
    """
    chosen = FORMATS[FormatName(format_)]
    return chosen.write(with_unique_names(items), Path(folder), options or ExportOptions())
