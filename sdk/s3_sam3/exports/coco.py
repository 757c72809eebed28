"""COCO: one `coco.json` for all pictures, as pycocotools, detectron2 and annotation tools read."""

from collections.abc import Iterator, Sequence
from itertools import count
from pathlib import Path
from typing import Any

from s3_sam3.contracts.manifest import Instance, Rle
from s3_sam3.exports import files, outlines
from s3_sam3.exports.options import ExportOptions
from s3_sam3.exports.pictured import Pictured, class_name
from s3_sam3.imaging import rle as run_lengths


FILE = "coco.json"


def write(items: Sequence[Pictured], folder: Path, options: ExportOptions) -> list[Path]:
    """
    Write the data set: a category for each prompt text, ids from 1.

    Masks are run lengths, which are exact; with `coco_polygons` a ring for each part, with its
    holes joined on by seams without width.
    """
    document = {
        "info": {"description": "Exported by S3 (SAM3 segmentation)", "version": "1"},
        "licenses": [],
        "images": [
            {
                "id": number,
                "file_name": item.called,
                "width": item.manifest.image.width,
                "height": item.manifest.image.height,
            }
            for number, item in enumerate(items, 1)
        ],
        "categories": [
            {"id": number, "name": name, "supercategory": ""}
            for name, number in _categories(items).items()
        ],
        "annotations": list(_annotations(items, options)),
    }
    return [files.written_json(folder / FILE, document)]


def _categories(items: Sequence[Pictured]) -> dict[str, int]:
    """Prompt text -> id, in the order in which they were asked."""
    names = (class_name(prompt) for item in items for prompt in item.manifest.prompts)
    return {name: number for number, name in enumerate(dict.fromkeys(names), 1)}


def _annotations(items: Sequence[Pictured], options: ExportOptions) -> Iterator[dict[str, Any]]:
    categories, numbers = _categories(items), count(1)
    for picture, item in enumerate(items, 1):
        for prompt, instance in item.found():
            left, top, inside = run_lengths.crop(instance.rle)
            yield {
                "id": next(numbers),
                "image_id": picture,
                "category_id": categories[class_name(prompt)],
                "bbox": [left, top, inside.shape[1], inside.shape[0]],
                "area": instance.area,
                "iscrowd": 0,
                "score": instance.score,
                "segmentation": _segmentation(instance, options),
            }


def _segmentation(instance: Instance, options: ExportOptions) -> dict[str, Any] | list[list[float]]:
    """Run lengths, or flat rings: x, y, x, y, …"""
    if not options.coco_polygons:
        return instance.rle.model_dump(mode="json")
    return _rings(instance.rle, options.tolerance)


def _rings(rle: Rle, tolerance: float) -> list[list[float]]:
    parts = outlines.outline(rle, tolerance=tolerance)
    return [ring.ravel().tolist() for ring in outlines.rings_of_parts(parts)]
