"""Run lengths are encoded and decoded as by pycocotools."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from s3_sam3.contracts.manifest import Rle
from s3_sam3.imaging import rle


columns = arrays.arrays(
    np.uint8,
    st.tuples(st.integers(1, 20), st.integers(1, 20)),
    elements=st.integers(0, 1),
)


@given(columns)
def test_flips_are_where_the_mask_changes(mask: np.ndarray) -> None:
    """Decoded, a mask begins and ends where its pixels, column by column, do."""
    [(lengths, _)] = rle.encode(mask[None])
    changes = np.diff(mask.ravel().astype(np.int64), prepend=0, append=0)
    assert rle.flips(lengths).tolist() == np.flatnonzero(changes).tolist()


@given(columns)
def test_a_mask_of_flips_is_the_one_of_its_pixels(mask: np.ndarray) -> None:
    """Encoded from flips or from pixels, run lengths and area are the same."""
    [expected] = rle.encode(mask[None])
    assert rle.from_flips(rle.flips(expected[0]), *mask.shape) == expected


@given(columns)
def test_a_crop_has_all_pixels_and_no_margin(mask: np.ndarray) -> None:
    """Put back in its place it is the mask, and each of its ends has a pixel."""
    [(lengths, area)] = rle.encode(mask[None])
    left, top, inside = rle.crop(lengths)
    whole = np.zeros(mask.T.shape, np.bool_)
    whole[top:, left:][: inside.shape[0], : inside.shape[1]] = inside
    assert np.array_equal(whole, mask.T.astype(np.bool_))
    if area:
        assert all(end.any() for end in (inside[0], inside[-1], inside[:, 0], inside[:, -1]))


@pytest.mark.parametrize("counts", ["", "0", "zzz", "____", "~~~~~~~~~~~~~~~~", "ö"])
def test_broken_run_lengths_are_refused(counts: str) -> None:
    """Run lengths must describe every pixel once; pycocotools does not check."""
    with pytest.raises(ValueError, match="no run lengths of a mask of 5 x 4"):
        rle.flips(Rle(size=(4, 5), counts=counts))


def test_overlap_is_over_the_union_and_cover_over_the_first() -> None:
    """A mask of 8 pixels of which 4 lie in one of 4: a half, and a half or all."""
    large = np.zeros((4, 4), np.uint8)
    large[:2] = 1
    small = np.zeros((4, 4), np.uint8)
    small[:1] = 1
    packed = [rle.packed(lengths) for lengths, _ in rle.encode(np.stack([large, small]))]
    assert rle.overlaps(packed[:1], packed[1:]).tolist() == [[0.5]]
    assert rle.covered(packed[:1], packed[1:]).tolist() == [[0.5]]
    assert rle.covered(packed[1:], packed[:1]).tolist() == [[1.0]]
    assert rle.overlaps(packed, []).shape == (2, 0)
