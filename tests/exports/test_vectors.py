"""Polygons and GeoJSON, read back by shapely."""

import json
from pathlib import Path
from typing import Any

import pytest
import shapely
import shapely.geometry
from drawn_manifests import disc, manifest, ring

from s3_sam3.exports import ExportOptions, FormatName, Pictured, export


SIZE = (64, 48)
RING = ring(SIZE, (20, 24), 15)
TWO = disc(SIZE, (10, 10), 7) | disc(SIZE, (50, 35), 9)
ITEM = Pictured(name="bus", manifest=manifest(bus=[RING], dog=[TWO]), file_name="bus.jpg")


def test_geojson_is_valid_and_says_what_it_is(tmp_path: Path) -> None:
    """A valid feature for each instance, with its score, prompt and label; y downwards is said."""
    document = _read(export([ITEM], FormatName.GEOJSON, tmp_path))
    shapes = [shapely.geometry.shape(each["geometry"]) for each in document["features"]]

    assert "y downwards" in document["coordinates_are"]
    assert [shape.geom_type for shape in shapes] == ["Polygon", "MultiPolygon"]
    assert all(shape.is_valid for shape in shapes)
    assert document["features"][0]["properties"] == {
        "label": 1,
        "prompt": "bus",
        "prompt_id": "p0",
        "score": 0.9,
        "area": RING.sum(),
    }


def test_polygons_have_outer_rings_and_holes(tmp_path: Path) -> None:
    """A ring has one hole, two discs are two polygons, and the areas are the masks'."""
    document = _read(export([ITEM], FormatName.POLYGONS, tmp_path, ExportOptions(tolerance=0)))
    [one, two] = document["instances"]
    parts = [
        shapely.Polygon(each["outer"], each["holes"])
        for each in [*one["polygons"], *two["polygons"]]
    ]

    assert [len(each["polygons"]) for each in (one, two)] == [1, 2]
    assert len(one["polygons"][0]["holes"]) == 1
    assert parts[0].area == pytest.approx(RING.sum(), rel=0.01)
    assert parts[1].area + parts[2].area == pytest.approx(TWO.sum(), rel=0.01)


def test_coordinates_count_pixels_from_their_edges(tmp_path: Path) -> None:
    """The disc's contour ends where its last pixels end."""
    item = Pictured(name="dog", manifest=manifest(dog=[disc(SIZE, (50, 20), 8)]))
    document = _read(export([item], FormatName.GEOJSON, tmp_path))

    assert shapely.geometry.shape(document["features"][0]["geometry"]).bounds == (42, 12, 59, 29)


def _read(paths: list[Path]) -> dict[str, Any]:
    [path] = paths
    document: dict[str, Any] = json.loads(path.read_text())
    return document
