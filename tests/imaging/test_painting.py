"""The label map and the overlay are, pixel by pixel, those of a plain slow painter."""

from collections.abc import Sequence

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from PIL import Image

from s3_sam3.contracts.manifest import Instance, PromptResult, Rle
from s3_sam3.imaging import label_map as fast
from s3_sam3.imaging import rle
from s3_sam3.imaging.label_map import label_map
from s3_sam3.imaging.overlay import OverlayStyle, overlay
from s3_sam3.imaging.tags import COLOURS


WIDTH, HEIGHT = 23, 17
SCORES = [0.1, 0.5, 0.5, 0.7, 0.9]

noise = arrays.arrays(np.bool_, (HEIGHT, WIDTH))
rectangles = st.builds(
    lambda x, y, width, height: _rectangle(x, y, x + width, y + height),
    *(st.integers(0, WIDTH), st.integers(0, HEIGHT), st.integers(0, WIDTH), st.integers(0, HEIGHT)),
)
found = st.lists(st.tuples(st.sampled_from(SCORES), rectangles | noise), max_size=8)


def _rectangle(left: int, top: int, right: int, bottom: int) -> np.ndarray:
    mask = np.zeros((HEIGHT, WIDTH), np.bool_)
    mask[top:bottom, left:right] = True
    return mask


def results(masks: Sequence[tuple[float, np.ndarray]], first: int = 1) -> list[PromptResult]:
    """Instances in two prompts, labelled from *first*."""
    instances = []
    for label, (score, mask) in enumerate(masks, first):
        [(lengths, area)] = rle.encode(np.ascontiguousarray(mask.T[None].astype(np.uint8)))
        box = (0.0, 0.0, float(WIDTH), float(HEIGHT))
        instances.append(Instance(label=label, score=score, box=box, area=area, rle=lengths))
    half = len(instances) // 2
    return [
        PromptResult(id=id_, text=id_, presence=1, truncated=False, instances=tuple(part))
        for id_, part in (("p0", instances[:half]), ("p1", instances[half:]))
    ]


def slow_map(masks: Sequence[tuple[float, np.ndarray]], first: int = 1) -> np.ndarray:
    """Paint one mask after the other, the best last; of equal ones the later."""
    labels = np.zeros((HEIGHT, WIDTH), np.int64)
    for place in sorted(range(len(masks)), key=lambda place: masks[place][0]):
        labels[masks[place][1]] = first + place
    return labels


@given(found, st.sampled_from([1, 30, 10_000]))
def test_the_label_map_is_the_slow_painters(
    masks: list[tuple[float, np.ndarray]], at_once: int
) -> None:
    """Masks of any form and score, however many of them are painted at once."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(fast, "_MOST_FLIPS", at_once)
        labels = label_map(results(masks), WIDTH, HEIGHT)
    assert labels.dtype == np.uint8
    assert np.array_equal(labels, slow_map(masks))


@pytest.mark.parametrize("count", [51, 52, 53, 104, 105, 300])
def test_so_many_masks_lie_on_each_other_in_order(count: int) -> None:
    """More than a float64 has bits, and more than a byte can number."""
    random = np.random.default_rng(count)
    masks = [
        (float(score), random.random((HEIGHT, WIDTH)) < 0.1)
        for score in random.permutation(count) / count
    ]
    labels = label_map(results(masks), WIDTH, HEIGHT)
    assert labels.dtype == (np.uint8 if count <= 255 else np.uint16)
    assert np.array_equal(labels, slow_map(masks))


def test_more_layers_than_a_float_has_bits_would_be_confused() -> None:
    """Negative control: with 58 masks open at once the number is rounded up to the next bit."""
    large, apart = _rectangle(1, 0, WIDTH, HEIGHT), _rectangle(0, 0, 1, 1)
    masks = [(n / 100, large) for n in range(58)] + [(0.9, apart)] * 2
    assert np.array_equal(label_map(results(masks), WIDTH, HEIGHT), slow_map(masks))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(fast, "_LAYERS", 63)
        assert not np.array_equal(label_map(results(masks), WIDTH, HEIGHT), slow_map(masks))


def test_a_mask_of_another_size_is_refused() -> None:
    """Its run lengths would be painted at wrong places."""
    [first, _] = results([(0.9, _rectangle(0, 0, 4, 4))] * 2)
    lengths = Rle(size=(WIDTH, HEIGHT), counts=first.instances[0].rle.counts)
    askew = first.instances[0].model_copy(update={"rle": lengths})
    with pytest.raises(ValueError, match="in a picture of"):
        label_map([first.model_copy(update={"instances": (askew,)})], WIDTH, HEIGHT)


@given(found, st.integers(0, 7), st.sampled_from([0.0, 0.4, 1.0]), st.sampled_from([0, 299]))
def test_the_overlay_is_the_slow_painters(
    masks: list[tuple[float, np.ndarray]], contour: int, tint: float, before: int
) -> None:
    """Tint, contour and halo of any width, and labels that a palette has no room for."""
    empty = results([(0.5, _rectangle(0, 0, 0, 0))] * before)
    asked = [*empty, *results(masks, before + 1)]
    ground = np.random.default_rng(0).integers(0, 256, (HEIGHT, WIDTH, 3), np.uint8)
    labels = label_map(asked, WIDTH, HEIGHT)
    style = OverlayStyle(tint=tint, contour=contour, tags=False, colours="prompt")
    drawn = overlay(Image.fromarray(ground), labels, asked, style=style)
    assert np.array_equal(np.asarray(drawn), slow_overlay(ground, labels, asked, contour, tint))


def slow_overlay(
    ground: np.ndarray,
    labels: np.ndarray,
    asked: Sequence[PromptResult],
    contour: int,
    tint: float,
) -> np.ndarray:
    """Look at the neighbours of each pixel."""
    prompt = {one.label: place for place, each in enumerate(asked) for one in each.instances}
    seams = np.argwhere(_at_a_seam(labels))
    shown = ground.copy()
    for y, x in np.ndindex(labels.shape):
        near = int(np.abs(seams - (y, x)).max(axis=1).min(initial=10**6))
        label = int(labels[y, x])
        if label:
            line = contour and near < contour
            colour, share = COLOURS[prompt[label]], 255 if line else round(255 * tint)
        else:
            halo = contour and near <= contour // 3
            colour, share = (255, 255, 255), round(255 * 0.75) if halo else 0
        mixed = Image.composite(
            Image.new("RGB", (1, 1), colour),
            Image.fromarray(ground[y : y + 1, x : x + 1]),
            Image.new("L", (1, 1), share),
        )
        shown[y, x] = np.asarray(mixed)[0, 0]
    return shown


def _at_a_seam(labels: np.ndarray) -> np.ndarray:
    """Pixels with another label above, below, left or right."""
    padded = np.pad(labels, 1, mode="edge")
    others = (padded[:-2, 1:-1], padded[2:, 1:-1], padded[1:-1, :-2], padded[1:-1, 2:])
    return np.any([other != labels for other in others], axis=0)
