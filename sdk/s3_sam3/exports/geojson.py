"""GeoJSON in pixels: for QGIS, geopandas, QuPath and whatever else reads shapes."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import shapely

from s3_sam3.contracts.manifest import Instance, PromptResult
from s3_sam3.exports import files, outlines
from s3_sam3.exports.options import ExportOptions
from s3_sam3.exports.pictured import Pictured, class_name
from s3_sam3.exports.polygons import COORDINATES


def write(items: Sequence[Pictured], folder: Path, options: ExportOptions) -> list[Path]:
    """Write `NAME.geojson` for each picture: a feature for each instance, valid shapes."""
    return [
        files.written_json(folder / f"{item.name}.geojson", _collection(item, options))
        for item in items
    ]


def _collection(item: Pictured, options: ExportOptions) -> dict[str, Any]:
    """RFC 7946 lets a file say more than it must; programs pass over what they do not know."""
    return {
        "type": "FeatureCollection",
        "coordinates_are": COORDINATES,
        "picture": {
            "file_name": item.called,
            "width": item.manifest.image.width,
            "height": item.manifest.image.height,
        },
        "features": [
            _feature(prompt, instance, options.tolerance) for prompt, instance in item.found()
        ],
    }


def _feature(prompt: PromptResult, instance: Instance, tolerance: float) -> dict[str, Any]:
    shape = outlines.outline(instance.rle, tolerance=tolerance)
    geometry = shape.geoms[0] if len(shape.geoms) == 1 else shape
    return {
        "type": "Feature",
        "id": instance.label,
        "geometry": shapely.geometry.mapping(geometry),
        "properties": {
            "label": instance.label,
            "prompt": class_name(prompt),
            "prompt_id": prompt.id,
            "score": instance.score,
            "area": instance.area,
        },
    }
