"""The formats there are, each with its sentence; `s3 export --help` lists this table."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Final

from s3_sam3.exports import coco, cutout, geojson, labels, overlay, png, polygons, yolo
from s3_sam3.exports.options import ExportOptions
from s3_sam3.exports.pictured import Pictured, with_names_apart


class FormatName(StrEnum):
    """What `--format` takes."""

    COCO = "coco"
    YOLO = "yolo"
    POLYGONS = "polygons"
    GEOJSON = "geojson"
    PNG = "png"
    CUTOUT = "cutout"
    OVERLAY = "overlay"
    LABELS = "labels"


@dataclass(frozen=True, slots=True, kw_only=True)
class Format:
    """One way to write manifests."""

    sentence: str
    write: Callable[[Sequence[Pictured], Path, ExportOptions], list[Path]]
    uses_picture: bool = False
    """It draws on the picture, or takes it along."""


FORMATS: Final[dict[FormatName, Format]] = {
    FormatName.COCO: Format(
        sentence="One coco.json for all pictures; exact run lengths, or polygons.",
        write=coco.write,
    ),
    FormatName.YOLO: Format(
        sentence="A YOLO-seg data set: classes, pictures, a label file for each.",
        write=yolo.write,
        uses_picture=True,
    ),
    FormatName.POLYGONS: Format(
        sentence="A JSON file for each picture: outer rings and holes in pixels.",
        write=polygons.write,
    ),
    FormatName.GEOJSON: Format(
        sentence="A FeatureCollection for each picture, in pixels, y downwards.",
        write=geojson.write,
    ),
    FormatName.PNG: Format(
        sentence="A black and white PNG for each instance, as large as the picture.",
        write=png.write,
    ),
    FormatName.CUTOUT: Format(
        sentence="Each instance cut out of the picture, on a transparent ground.",
        write=cutout.write,
        uses_picture=True,
    ),
    FormatName.OVERLAY: Format(
        sentence="The picture with its instances tinted, outlined and named.",
        write=overlay.write,
        uses_picture=True,
    ),
    FormatName.LABELS: Format(
        sentence="A grey PNG for each picture: pixels carry their instance's number.",
        write=labels.write,
    ),
}


def export(
    items: Sequence[Pictured],
    format_: FormatName | str,
    folder: str | Path,
    options: ExportOptions | None = None,
) -> list[Path]:
    """
    Write manifests in a format into *folder* and give the files' paths.

    Several make one COCO or YOLO data set. Raises NoPicture, WrongPicture, or ValueError for a
    format that there is not.
    """
    chosen = FORMATS[FormatName(format_)]
    return chosen.write(with_names_apart(items), Path(folder), options or ExportOptions())
