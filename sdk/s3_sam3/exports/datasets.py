"""
Data sets of several pictures: COCO, and YOLO-seg as Ultralytics trains on it.

COCO is one file, `coco.json`. YOLO is a folder:

    data.yaml           where the pictures are, and the classes
    classes.txt         the classes, one per line
    images/bus.jpg      the pictures, when they are known
    labels/bus.txt      one line per instance: class x y x y …, as fractions of width and height

A line of YOLO has one ring. Holes and further parts are joined to it by seams without width, so
that the area stays: a model would learn a dropped hole as object.
"""

import json
from collections.abc import Iterator, Sequence
from itertools import count
from pathlib import Path
from typing import Any

from s3_sam3.contracts.manifest import ImageSize, Instance
from s3_sam3.exports import contours
from s3_sam3.exports.items import ExportOptions, Pictured, class_name, write_file, write_json
from s3_sam3.imaging import rle


def write_coco(items: Sequence[Pictured], folder: Path, options: ExportOptions) -> list[Path]:
    """
    Write `coco.json`: a category for each prompt text, ids from 1.

    Masks are run lengths, which are exact; with `coco_polygons` one ring per part, its holes
    joined to it by seams without width.
    """
    categories = {name: number for number, name in enumerate(_classes(items), 1)}
    document = {
        "info": {"description": "Exported by S3 (SAM3 segmentation)", "version": "1"},
        "licenses": [],
        "images": [
            {
                "id": number,
                "file_name": item.picture_name,
                "width": item.manifest.image.width,
                "height": item.manifest.image.height,
            }
            for number, item in enumerate(items, 1)
        ],
        "categories": [
            {"id": number, "name": name, "supercategory": ""} for name, number in categories.items()
        ],
        "annotations": list(_annotations(items, categories, options)),
    }
    return [write_json(folder / "coco.json", document)]


def write_yolo(items: Sequence[Pictured], folder: Path, options: ExportOptions) -> list[Path]:
    """Write the folder; a class for each prompt text, numbered from 0 in the order of prompts."""
    classes = {name: number for number, name in enumerate(_classes(items))}
    paths = [
        write_file(folder / "data.yaml", _data_yaml(classes).encode()),
        write_file(
            folder / "classes.txt",
            "".join(f"{' '.join(name.split())}\n" for name in classes).encode(),
        ),
    ]
    for item in items:
        lines = (
            _yolo_line(classes[class_name(prompt)], instance, item.manifest.image, options)
            for prompt, instance in item.instances()
        )
        label = folder / "labels" / f"{Path(item.picture_name).stem}.txt"
        paths.append(write_file(label, "".join(lines).encode()))
        if item.picture is not None:
            item.open().close()  # raises when it is not the picture of these masks
            data = item.picture if isinstance(item.picture, bytes) else item.picture.read_bytes()
            paths.append(write_file(folder / "images" / item.picture_name, data))
    return paths


def _classes(items: Sequence[Pictured]) -> list[str]:
    """Every prompt text once, in the order of prompts."""
    names = (class_name(prompt) for item in items for prompt in item.manifest.prompts)
    return list(dict.fromkeys(names))


def _annotations(
    items: Sequence[Pictured], categories: dict[str, int], options: ExportOptions
) -> Iterator[dict[str, Any]]:
    ids = count(1)
    for image_id, item in enumerate(items, 1):
        for prompt, instance in item.instances():
            left, top, inside = rle.crop(instance.rle)
            yield {
                "id": next(ids),
                "image_id": image_id,
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
    polygons = contours.polygons_of(instance.rle, tolerance=options.tolerance)
    return [ring.ravel().tolist() for ring in contours.rings_of_parts(polygons)]


def _data_yaml(classes: dict[str, int]) -> str:
    """Write names as JSON strings, which are YAML too; without `path`, `images` is beside it."""
    names = "".join(f"  {number}: {json.dumps(name)}\n" for name, number in classes.items())
    return (
        "# The pictures belong into images/, under the names of the files in labels/.\n"
        "# Split them before you train: here both lists are the same.\n"
        f"train: images\nval: images\nnames:\n{names}"
    )


def _yolo_line(number: int, instance: Instance, image: ImageSize, options: ExportOptions) -> str:
    polygons = contours.polygons_of(instance.rle, tolerance=options.tolerance)
    fractions = (contours.one_ring(polygons) / (image.width, image.height)).ravel()
    return " ".join([str(number), *(f"{each:.6f}" for each in fractions)]) + "\n"
