"""Polygons of each picture, as plain JSON or as GeoJSON (QGIS, geopandas, QuPath), in pixels."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

import numpy as np
import shapely

from s3_sam3.contracts.manifest import Instance, PromptResult
from s3_sam3.exports import contours
from s3_sam3.exports.items import ExportOptions, Pictured, class_name, write_json


COORDINATES: Final = (
    "Pixels of the upright original: x to the right, y downwards; the first pixel covers 0 to 1."
)


def write_polygons(items: Sequence[Pictured], folder: Path, options: ExportOptions) -> list[Path]:
    """Write `NAME.polygons.json` for each picture; rings are open: [[x, y], …]."""
    return [
        write_json(folder / f"{item.name}.polygons.json", _polygons(item, options.tolerance))
        for item in items
    ]


def write_geojson(items: Sequence[Pictured], folder: Path, options: ExportOptions) -> list[Path]:
    """Write `NAME.geojson` for each picture: a feature for each instance, with a valid shape."""
    return [
        write_json(folder / f"{item.name}.geojson", _feature_collection(item, options.tolerance))
        for item in items
    ]


def _polygons(item: Pictured, tolerance: float) -> dict[str, Any]:
    return {
        "picture": item.picture_name,
        "width": item.manifest.image.width,
        "height": item.manifest.image.height,
        "coordinates": COORDINATES,
        "tolerance_pixels": tolerance,
        "instances": [
            {
                **_properties(prompt, instance),
                "box": instance.box,
                "polygons": [
                    {"outer": _ring(part.exterior), "holes": [*map(_ring, part.interiors)]}
                    for part in contours.polygons_of(instance.rle, tolerance=tolerance).geoms
                ],
            }
            for prompt, instance in item.instances()
        ],
    }


def _ring(ring: shapely.LinearRing) -> list[list[float]]:
    corners: list[list[float]] = np.asarray(ring.coords)[:-1].tolist()
    return corners


def _feature_collection(item: Pictured, tolerance: float) -> dict[str, Any]:
    """RFC 7946 allows members of one's own; programs ignore those that they do not know."""
    return {
        "type": "FeatureCollection",
        "coordinates_are": COORDINATES,
        "picture": {
            "file_name": item.picture_name,
            "width": item.manifest.image.width,
            "height": item.manifest.image.height,
        },
        "features": [
            _feature(prompt, instance, tolerance) for prompt, instance in item.instances()
        ],
    }


def _feature(prompt: PromptResult, instance: Instance, tolerance: float) -> dict[str, Any]:
    shape = contours.polygons_of(instance.rle, tolerance=tolerance)
    geometry = shape.geoms[0] if len(shape.geoms) == 1 else shape
    return {
        "type": "Feature",
        "id": instance.label,
        "geometry": shapely.geometry.mapping(geometry),
        "properties": _properties(prompt, instance),
    }


def _properties(prompt: PromptResult, instance: Instance) -> dict[str, Any]:
    return {
        "label": instance.label,
        "prompt": class_name(prompt),
        "prompt_id": prompt.id,
        "score": instance.score,
        "area": instance.area,
    }
