"""
Contours of masks: polygons that keep their holes.

Coordinates are pixels of the upright original: x to the right, y downwards, and the first pixel
covers 0..1. A contour runs halfway between the centres of pixels inside and outside (marching
squares), so that drawing it again gives the mask back, pixel by pixel.
"""

from itertools import pairwise
from typing import Final, cast

import contourpy
import numpy as np
import shapely
from numpy.typing import NDArray
from pycocotools import mask as coco
from shapely import MultiPoint, MultiPolygon, Polygon

from s3_sam3.contracts.manifest import Rle
from s3_sam3.imaging import rle as run_lengths


DEFAULT_TOLERANCE: Final = 1.0
"""Pixels that a simplified contour may differ from the exact one."""

LEAST_OVERLAP: Final = 0.98
"""IoU of the mask and its polygons, drawn again; below it the polygons are simplified less."""

#: How often the tolerance is halved before the exact contour is taken, which thin masks need.
_HALVINGS: Final = 4

Ring = NDArray[np.float64]


def polygons_of(rle: Rle, *, tolerance: float = DEFAULT_TOLERANCE) -> MultiPolygon:
    """
    Trace a mask: valid polygons with their holes, at most *tolerance* pixels off.

    Drawn again by pycocotools they overlap the mask by at least LEAST_OVERLAP (IoU).
    """
    found = run_lengths.crop(rle)
    corner = np.array([found.left, found.top])
    exact = _exact(found)
    simple = _simplified(exact, found, tolerance) if tolerance > 0 else exact
    return shapely.transform(simple, lambda points: points + corner)


def one_ring(polygons: MultiPolygon) -> Ring:
    """
    Join parts and holes to one open ring, (n, 2), for formats with one ring per instance.

    A seam without width leads to each hole or further part and back, so that the area stays:
    dropping holes would fill them.
    """
    parts = sorted(polygons.geoms, key=lambda part: -part.area)
    rings = [_bridged(shapely.orient_polygons(part)) for part in parts]
    joined = rings[0]
    for ring in rings[1:]:
        joined = _join(joined, ring)
    return joined


def rings_of_parts(polygons: MultiPolygon) -> list[Ring]:
    """Give one ring per part, its holes joined to it as in `one_ring`."""
    return [_bridged(shapely.orient_polygons(part)) for part in polygons.geoms]


def _exact(found: run_lengths.Crop) -> MultiPolygon:
    """Trace a crop, in the crop's coordinates."""
    framed = np.pad(found.inside, 1).astype(np.float64)  # contours close at the picture's edge
    generator = contourpy.contour_generator(
        z=framed, name="serial", fill_type=contourpy.FillType.OuterOffset
    )
    # The type of `filled` is a union over all fill types; this one has points and offsets.
    points, offsets = cast(
        "tuple[list[Ring], list[NDArray[np.uint32]]]", generator.filled(0.5, np.inf)
    )
    parts: list[Polygon] = []
    for corners, ends in zip(points, offsets, strict=True):
        # Sample n is the centre of pixel n - 1 of the crop, which is at n - 0.5.
        moved = corners - 0.5
        rings = [moved[start:end] for start, end in pairwise(ends)]
        parts.append(Polygon(rings[0], rings[1:]))
    return MultiPolygon(parts)


def _simplified(exact: MultiPolygon, found: run_lengths.Crop, tolerance: float) -> MultiPolygon:
    """Simplify as far as the tolerance and LEAST_OVERLAP allow."""
    for halving in range(_HALVINGS):
        simple = MultiPolygon(
            shapely.get_parts(exact.simplify(tolerance / 2**halving, preserve_topology=True))
        )
        if simple.is_valid and _overlap(simple, found.inside) >= LEAST_OVERLAP:
            return simple
    return exact


def _overlap(polygons: MultiPolygon, mask: NDArray[np.bool_]) -> float:
    """IoU of a mask and its polygons as pycocotools draws them."""
    height, width = mask.shape
    drawn = np.zeros(mask.shape, np.bool_)
    for ring in rings_of_parts(polygons):
        packed = coco.frPyObjects([ring.ravel().tolist()], height, width)
        drawn |= coco.decode(packed)[:, :, 0].astype(np.bool_)
    return float((drawn & mask).sum() / (drawn | mask).sum())


def _bridged(part: Polygon) -> Ring:
    """Join an outer ring and its holes, which run the other way round."""
    ring = _open(part.exterior)
    for hole in part.interiors:
        ring = _join(ring, _open(hole))
    return ring


def _open(ring: shapely.LinearRing) -> Ring:
    """Corners without the last, which repeats the first."""
    return np.asarray(ring.coords)[:-1]


def _join(ring: Ring, other: Ring) -> Ring:
    """Insert *other* into *ring*, there and back at their nearest corners."""
    nearest = shapely.shortest_line(MultiPoint(ring), MultiPoint(other))
    here, there = (
        int(np.abs(corners - point).sum(axis=1).argmin())
        for corners, point in zip((ring, other), np.asarray(nearest.coords), strict=True)
    )
    return np.concatenate(
        [ring[: here + 1], other[there:], other[: there + 1], ring[here:]], axis=0
    )
