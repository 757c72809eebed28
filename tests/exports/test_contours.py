"""Polygons of a mask: valid, with their holes, and drawn again they are the mask."""

import numpy as np
import pytest
import shapely
from drawn_manifests import Mask, disc, drawn, overlap, ring, run_lengths
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from s3_sam3.exports import contours


SIZE = (80, 60)

noise = arrays.arrays(
    np.bool_, arrays.array_shapes(min_dims=2, max_dims=2, min_side=1, max_side=24)
).filter(np.any)


@st.composite
def blobs(draw: st.DrawFn) -> Mask:
    """Some discs, less some discs: parts, holes, parts in holes."""
    mask = np.zeros(SIZE[::-1], np.bool_)
    mask[30, 40] = True
    for _ in range(draw(st.integers(1, 6))):
        centre = (draw(st.integers(0, SIZE[0])), draw(st.integers(0, SIZE[1])))
        area = disc(SIZE, centre, draw(st.integers(1, 25)))
        mask = mask | area if draw(st.booleans()) else mask & ~area
    return mask


masks = st.one_of(noise, blobs().filter(np.any))
tolerances = st.sampled_from([0.0, 0.5, 1.0, 2.0, 5.0])


@settings(deadline=None)
@given(mask=masks, tolerance=tolerances)
def test_polygons_are_valid_and_drawn_again_they_are_the_mask(mask: Mask, tolerance: float) -> None:
    """Whatever the mask and the tolerance: valid, and IoU of at least 0.98."""
    found = contours.polygons_of(run_lengths(mask), tolerance=tolerance)
    shape = np.zeros(mask.shape, np.bool_)
    for part in found.geoms:
        inside = drawn([_flat(part.exterior)], mask.shape)
        for hole in part.interiors:
            inside &= ~drawn([_flat(hole)], mask.shape)
        shape |= inside

    assert found.is_valid
    assert overlap(shape, mask) >= 0.98


@settings(deadline=None)
@given(mask=masks, tolerance=tolerances)
def test_one_ring_keeps_parts_and_holes(mask: Mask, tolerance: float) -> None:
    """Seams have no width: the one ring, drawn, is the mask with an IoU of at least 0.98."""
    whole = contours.one_ring(contours.polygons_of(run_lengths(mask), tolerance=tolerance))

    assert overlap(drawn([whole.ravel().tolist()], mask.shape), mask) >= 0.98


@given(mask=noise)
@settings(deadline=None)
def test_without_tolerance_polygons_are_exact(mask: Mask) -> None:
    """Tolerance 0 gives every pixel back."""
    found = contours.polygons_of(run_lengths(mask), tolerance=0)
    rings = [each.ravel().tolist() for each in contours.rings_of_parts(found)]

    assert overlap(drawn(rings, mask.shape), mask) == 1


def test_a_hole_stays_a_hole() -> None:
    """A ring is one polygon with one hole, whose middle is outside."""
    [part] = contours.polygons_of(run_lengths(ring(SIZE, (40, 30), 20))).geoms

    assert len(part.interiors) == 1
    assert not part.contains(shapely.Point(40.5, 30.5))


def test_simplifying_saves_corners() -> None:
    """With the default tolerance a large disc has a tenth of its exact corners."""
    mask = run_lengths(disc((800, 800), (400, 400), 350))
    exact, simple = contours.polygons_of(mask, tolerance=0), contours.polygons_of(mask)

    assert shapely.get_num_coordinates(simple) < shapely.get_num_coordinates(exact) / 10


def test_control_small_masks_would_be_lost_without_the_bound(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Negative control: simplified as far as the tolerance allows, a small disc is below 0.98."""
    monkeypatch.setattr(contours, "LEAST_OVERLAP", 0.0)
    mask = disc((11, 11), (5, 5), 5)
    whole = contours.one_ring(contours.polygons_of(run_lengths(mask), tolerance=1))

    assert overlap(drawn([whole.ravel().tolist()], mask.shape), mask) < 0.95


def _flat(of: shapely.LinearRing) -> list[float]:
    corners: list[float] = np.asarray(of.coords)[:-1].ravel().tolist()
    return corners
