"""
YOLO-seg: a data set as Ultralytics trains on.

    data.yaml           where the pictures are, and the classes
    classes.txt         the classes, a line each
    images/bus.jpg      the pictures, when they are known
    labels/bus.txt      a line for each instance: class x y x y … in parts of width and height

A line has one ring. Holes and further parts are joined to it by seams without width, so the area
stays; a hole that was dropped would be taught as object.
"""

import json
from collections.abc import Sequence
from pathlib import Path

from s3_sam3.contracts.manifest import ImageSize, Instance
from s3_sam3.exports import files, outlines
from s3_sam3.exports.options import ExportOptions
from s3_sam3.exports.pictured import Pictured, class_name


def write(items: Sequence[Pictured], folder: Path, options: ExportOptions) -> list[Path]:
    """Write the data set; a class for each prompt text, in the order of asking, from 0."""
    names = dict.fromkeys(class_name(prompt) for item in items for prompt in item.manifest.prompts)
    classes = {name: number for number, name in enumerate(names)}
    paths = [
        files.written(folder / "data.yaml", _data(classes).encode()),
        files.written(
            folder / "classes.txt", "".join(f"{_flat(name)}\n" for name in classes).encode()
        ),
    ]
    for item in items:
        lines = (
            _line(classes[class_name(prompt)], instance, item.manifest.image, options.tolerance)
            for prompt, instance in item.found()
        )
        label = folder / "labels" / f"{Path(item.called).stem}.txt"
        paths.append(files.written(label, "".join(lines).encode()))
        if item.picture is not None:
            item.open().close()  # raises when it is another picture than the masks are of
            data = item.picture if isinstance(item.picture, bytes) else item.picture.read_bytes()
            paths.append(files.written(folder / "images" / item.called, data))
    return paths


def _data(classes: dict[str, int]) -> str:
    """`data.yaml`; a JSON string is a YAML string. Without `path` it means its own folder."""
    names = "".join(f"  {number}: {json.dumps(name)}\n" for name, number in classes.items())
    return (
        "# The pictures belong into images/, under the names of the files in labels/.\n"
        "# Split them before you train: here both lists are the same.\n"
        f"train: images\nval: images\nnames:\n{names}"
    )


def _line(number: int, instance: Instance, image: ImageSize, tolerance: float) -> str:
    ring = outlines.one_ring(outlines.outline(instance.rle, tolerance=tolerance))
    parts = (ring / (image.width, image.height)).ravel()
    return " ".join([str(number), *(f"{part:.6f}" for part in parts)]) + "\n"


def _flat(name: str) -> str:
    """A class on one line."""
    return " ".join(name.split())
