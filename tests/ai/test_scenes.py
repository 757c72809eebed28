"""What is drawn is what the truth says."""

import numpy as np
import pytest

from ai import scenes, vocabulary


@pytest.mark.parametrize("seed", range(5))
def test_a_true_mask_covers_pixels_of_its_colour(seed: int) -> None:
    """The mean colour under a thing's mask is nearest to the colour that it is said to have."""
    drawn, things = scenes.picture(seed)
    pixels = np.asarray(drawn, np.float32)

    for thing in things:
        mean = pixels[thing.mask].mean(0)
        apart = {
            name: float(np.abs(mean - np.array(rgb)).sum())
            for name, rgb in vocabulary.COLOURS.items()
        }
        assert min(apart, key=apart.__getitem__) == thing.colour


def test_a_scene_is_the_same_for_a_seed() -> None:
    """Drawing twice from one seed gives one picture."""
    one, other = (scenes.scene(np.random.default_rng(3), 112) for _ in range(2))

    assert np.array_equal(one.image, other.image)


def test_masks_never_overlap() -> None:
    """A pixel belongs to the thing in front alone."""
    drawn = scenes.scene(np.random.default_rng(5), 112)

    assert np.sum([thing.mask for thing in drawn.things], axis=0).max() <= 1
