"""Polygons: a JSON file for each picture, each instance with its outer rings and their holes."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import shapely

from s3_sam3.contracts.manifest import Instance, PromptResult
from s3_sam3.exports import files, outlines
from s3_sam3.exports.options import ExportOptions
from s3_sam3.exports.pictured import Pictured, class_name


COORDINATES = (
    "Pixels of the upright original: x to the right, y downwards; the first pixel covers 0 to 1."
)


def write(items: Sequence[Pictured], folder: Path, options: ExportOptions) -> list[Path]:
    """Write `NAME.polygons.json` for each picture; rings are open, [[x, y], …]."""
    return [
        files.written_json(folder / f"{item.name}.polygons.json", _document(item, options))
        for item in items
    ]


def _document(item: Pictured, options: ExportOptions) -> dict[str, Any]:
    return {
        "picture": item.called,
        "width": item.manifest.image.width,
        "height": item.manifest.image.height,
        "coordinates": COORDINATES,
        "tolerance_pixels": options.tolerance,
        "instances": [
            _instance(prompt, instance, options.tolerance) for prompt, instance in item.found()
        ],
    }


def _instance(prompt: PromptResult, instance: Instance, tolerance: float) -> dict[str, Any]:
    parts = outlines.outline(instance.rle, tolerance=tolerance).geoms
    return {
        "label": instance.label,
        "prompt": class_name(prompt),
        "prompt_id": prompt.id,
        "score": instance.score,
        "box": instance.box,
        "area": instance.area,
        "polygons": [
            {"outer": _ring(part.exterior), "holes": [_ring(hole) for hole in part.interiors]}
            for part in parts
        ],
    }


def _ring(ring: shapely.LinearRing) -> list[list[float]]:
    corners: list[list[float]] = np.asarray(ring.coords)[:-1].tolist()
    return corners
