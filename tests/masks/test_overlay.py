"""The label map and the overlay."""

from io import BytesIO

import numpy as np
from PIL import Image

from contracts.manifest import Instance, PromptResult
from masks import rle
from masks.label_map import label_map, mask_png
from masks.overlay import overlay_webp


def instance(
    label: int, score: float, area: tuple[slice, slice], size: tuple[int, int]
) -> Instance:
    """A rectangle (rows, columns) in a picture of height x width."""
    mask = np.zeros(size, np.uint8)
    mask[area] = 1
    [(lengths, pixels)] = rle.encode(np.ascontiguousarray(mask.T[None]))
    rows, columns = area
    box = (float(columns.start), float(rows.start), float(columns.stop), float(rows.stop))
    return Instance(label=label, score=score, box=box, area=pixels, rle=lengths)


def result(*instances: Instance, id_: str = "p0", text: str | None = "red circle") -> PromptResult:
    """One prompt's answer."""
    return PromptResult(id=id_, text=text, presence=1, truncated=False, instances=instances)


def opened(data: bytes) -> Image.Image:
    """The picture in *data*."""
    return Image.open(BytesIO(data))


def test_the_better_instance_lies_on_top() -> None:
    """Where instances overlap the label is the one with the higher score, in any order."""
    size = (10, 10)
    low = instance(1, 0.6, (slice(0, 6), slice(0, 6)), size)
    high = instance(2, 0.9, (slice(3, 9), slice(3, 9)), size)
    labels = label_map([result(low), result(high)], 10, 10)
    assert labels[4, 4] == 2
    assert labels[1, 1] == 1
    assert labels[9, 9] == 0
    swapped = [result(low.model_copy(update={"score": 0.95})), result(high)]
    assert label_map(swapped, 10, 10)[4, 4] == 1


def test_few_labels_make_an_8_bit_map_and_many_a_16_bit_one() -> None:
    """255 labels fit in a byte; 256 do not, and no label is lost."""
    for count, kind in ((255, np.uint8), (256, np.uint16)):
        labels = np.arange(count + 1, dtype=np.uint16).reshape(1, -1)
        read = np.asarray(opened(mask_png(labels)))
        assert read.dtype == kind
        assert np.array_equal(read, labels)


def test_the_overlay_has_the_size_of_the_picture() -> None:
    """Also when it is one pixel, one line, or empty of instances."""
    for width, height in ((1, 1), (700, 1), (64, 48)):
        picture = Image.new("RGB", (width, height), "grey")
        labels = np.zeros((height, width), np.uint16)
        overlay = opened(overlay_webp(picture, labels, [result()], demo=True))
        assert overlay.size == (width, height)


def test_an_overlay_too_long_for_webp_is_made_smaller() -> None:
    """A side over 16,383 pixels is brought down to it."""
    picture = Image.new("RGB", (20_000, 10), "grey")
    labels = np.zeros((10, 20_000), np.uint16)
    overlay = opened(overlay_webp(picture, labels, [result()], demo=False))
    assert max(overlay.size) == 16_383


def drawn(results: list[PromptResult], *, demo: bool = False) -> np.ndarray:
    """The overlay over a grey picture of 400 x 300, as pixels."""
    picture = Image.new("RGB", (400, 300), (128, 128, 128))
    labels = label_map(results, 400, 300)
    return np.asarray(opened(overlay_webp(picture, labels, results, demo=demo)), np.int16)


def test_instances_are_tinted_and_the_rest_is_untouched() -> None:
    """Inside an instance the colour changes, outside it stays."""
    one = instance(1, 0.9, (slice(100, 200), slice(100, 200)), (300, 400))
    overlay = drawn([result(one)])
    assert np.abs(overlay[150, 150] - 128).max() > 20
    assert np.abs(overlay[280, 380] - 128).max() < 8


def test_the_demo_model_says_so_in_the_corner() -> None:
    """The lower right corner changes with `demo`, and only there."""
    one = instance(1, 0.9, (slice(100, 200), slice(100, 200)), (300, 400))
    changed = np.abs(drawn([result(one)], demo=True) - drawn([result(one)])).max(axis=2) > 30
    rows, columns = np.nonzero(changed)
    assert len(rows) > 100
    assert rows.min() > 250
    assert columns.min() > 250


def test_prompts_have_colours_of_their_own() -> None:
    """With several prompts all instances of one share a colour that no neighbour has."""
    size = (300, 400)
    places = [(slice(10, 90), slice(x, x + 80)) for x in (10, 110, 210)]
    a, b, c = (instance(n + 1, 0.9, place, size) for n, place in enumerate(places))
    overlay = drawn([result(a, b), result(c, id_="p1", text="blue square")])
    first, second, other = (overlay[85, x + 40] for x in (10, 110, 210))
    assert np.abs(first - second).max() < 8
    assert np.abs(first - other).max() > 20


def test_many_prompts_and_long_texts_are_drawn() -> None:
    """More instances than colours, and texts longer than the picture, are no failure."""
    size = (300, 400)
    many = [
        result(instance(n + 1, 0.9, (slice(0, 30), slice(n, n + 30)), size), text="long " * 40)
        for n in range(20)
    ]
    assert drawn(many).shape == (300, 400, 3)
