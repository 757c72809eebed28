"""The label map and the overlay."""

from collections.abc import Sequence
from dataclasses import replace
from io import BytesIO
from itertools import combinations, pairwise

import numpy as np
import pytest
from PIL import Image, ImageDraw

from s3_sam3.contracts.manifest import Instance, PromptResult
from s3_sam3.imaging import rle
from s3_sam3.imaging.label_map import label_map, mask_png
from s3_sam3.imaging.overlay import OverlayStyle, by_instance, by_prompt, overlay, overlay_webp
from s3_sam3.imaging.tags import COLOURS, Pen, draw_tags


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
    """Also when it is one pixel, one line, or has no instances."""
    for width, height in ((1, 1), (700, 1), (64, 48)):
        picture = Image.new("RGB", (width, height), "grey")
        labels = np.zeros((height, width), np.uint16)
        same = opened(overlay_webp(picture, labels, [result()], demo=True))
        assert same.size == (width, height)


def test_an_overlay_too_long_for_webp_is_made_smaller() -> None:
    """A side over 16,383 pixels is brought down to it."""
    picture = Image.new("RGB", (20_000, 10), "grey")
    labels = np.zeros((10, 20_000), np.uint16)
    smaller = opened(overlay_webp(picture, labels, [result()], demo=False))
    assert max(smaller.size) == 16_383


def drawn(results: list[PromptResult], *, demo: bool = False) -> np.ndarray:
    """The overlay over a grey picture of 400 x 300, as pixels."""
    picture = Image.new("RGB", (400, 300), (128, 128, 128))
    labels = label_map(results, 400, 300)
    return np.asarray(opened(overlay_webp(picture, labels, results, demo=demo)), np.int16)


def test_instances_are_tinted_and_the_rest_is_untouched() -> None:
    """Inside an instance the colour changes, outside it stays."""
    one = instance(1, 0.9, (slice(100, 200), slice(100, 200)), (300, 400))
    pixels = drawn([result(one)])
    assert np.abs(pixels[150, 150] - 128).max() > 20
    assert np.abs(pixels[280, 380] - 128).max() < 8


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
    pixels = drawn([result(a, b), result(c, id_="p1", text="blue square")])
    first, second, other = (pixels[85, x + 40] for x in (10, 110, 210))
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


def painted(results: Sequence[PromptResult], style: OverlayStyle) -> np.ndarray:
    """The overlay over a black picture of 400 x 300, before WebP."""
    picture = Image.new("RGB", (400, 300))
    labels = label_map(results, 400, 300)
    return np.asarray(overlay(picture, labels, results, style=style))


SQUARE = instance(1, 0.9, (slice(100, 200), slice(100, 200)), (300, 400))


def test_a_style_may_leave_everything_out() -> None:
    """
    Without tint, contour and tags the picture is as it was.

    Negative controls: each of the three alone changes it.
    """
    bare = {"tint": 0, "contour": 0, "tags": False}
    assert not painted([result(SQUARE)], OverlayStyle(**bare)).any()
    for one in ({"tint": 0.1}, {"contour": 1}, {"tags": True}):
        assert painted([result(SQUARE)], OverlayStyle(**{**bare, **one})).any()


def test_the_contour_has_the_width_asked_for() -> None:
    """Four pixels of full colour inside the edge, then the tint; white around it."""
    row = painted([result(SQUARE)], OverlayStyle(tint=0.5, contour=4, tags=False))[150]
    colour = np.array(COLOURS[0])
    assert (row[100:104] == colour).all()
    assert (row[104:196] < colour.clip(min=1)).all()
    assert (row[196:200] == colour).all()
    assert (row[99] == row[99][0]).all()
    assert row[99][0] > 100
    assert not row[:98].any()


@pytest.mark.parametrize("rows", [1, 7, 100])
def test_bands_leave_no_seams(rows: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """
    Painted in bands of any height the picture is the same.

    Negative control: the comparison sees another tint.
    """
    results, style = [crowd(40)], OverlayStyle(contour=5, tags=False)
    expected = painted(results, style)
    monkeypatch.setattr("s3_sam3.imaging.overlay._ROWS", rows)
    assert np.array_equal(painted(results, style), expected)
    assert not np.array_equal(painted(results, replace(style, tint=0.3)), expected)


@pytest.mark.parametrize(("tint", "contour"), [(-0.1, 1), (1.1, 1), (0.5, -1)])
def test_a_style_that_cannot_be_drawn_is_refused(tint: float, contour: int) -> None:
    """A share is 0 to 1, a width is not negative."""
    with pytest.raises(ValueError, match="tint must be"):
        OverlayStyle(tint=tint, contour=contour)


def test_instances_that_meet_have_colours_of_their_own() -> None:
    """
    Thirty in a chain, each meeting the next, in any style but by prompt.

    Negative control: by prompt all have one colour.
    """
    chain = [
        instance(n + 1, 0.9, (slice(5, 15), slice(12 * n, 12 * n + 13)), (20, 400))
        for n in range(30)
    ]
    colours = by_instance([result(*chain)])
    assert all(one != other for one, other in pairwise(colours))
    assert len(set(by_prompt([result(*chain)]))) == 1


class Noting(Pen):
    """Remembers what was written where."""

    def __init__(self, labels: np.ndarray) -> None:
        canvas = Image.new("RGB", labels.shape[::-1])
        super().__init__(ImageDraw.Draw(canvas), labels)
        self.tags: dict[tuple[float, float, float, float], str] = {}

    def write(
        self, box: tuple[float, float, float, float], text: str, colour: tuple[int, int, int]
    ) -> None:
        """Note it, and write it."""
        self.tags[box] = text
        super().write(box, text, colour)


def tags(results: Sequence[PromptResult], *, demo: bool = False) -> Noting:
    """The tags of a picture of 400 x 300."""
    pen = Noting(label_map(results, 400, 300))
    draw_tags(pen, results, by_instance(results), demo=demo)
    return pen


def crowd(count: int) -> PromptResult:
    """Instances all over the picture."""
    random = np.random.default_rng(0)
    corners = random.integers(0, (270, 370), (count, 2))
    return result(
        *(
            instance(n + 1, 1 - n / 1000, (slice(y, y + 30), slice(x, x + 30)), (300, 400))
            for n, (y, x) in enumerate(corners.tolist())
        )
    )


def test_tags_never_lie_over_each_other_nor_outside() -> None:
    """Two hundred instances: as many tags as have room, the demo's note among them."""
    boxes = list(tags([crowd(200)], demo=True).tags)
    assert len(boxes) > 30
    for one, other in combinations(boxes, 2):
        apart = one[2] <= other[0] or other[2] <= one[0] or one[3] <= other[1] or other[3] <= one[1]
        assert apart
    for left, top, right, bottom in boxes:
        assert 0 <= left < right <= 400
        assert 0 <= top < bottom <= 300


def test_a_tag_keeps_off_another_instance() -> None:
    """Its first place is above; where another instance lies there, it goes below."""
    low = instance(1, 0.9, (slice(100, 140), slice(100, 240)), (300, 400))
    [free] = tags([result(low)]).tags
    assert free[3] <= 100
    above = instance(2, 0.5, (slice(60, 100), slice(60, 280)), (300, 400))
    [mine, *_] = [box for box, text in tags([result(low, above)]).tags.items() if "0.90" in text]
    assert mine[1] >= 140


def test_letters_that_the_font_lacks_become_the_prompts_id() -> None:
    """A row of empty boxes would say nothing."""
    for text, shown in (("Straße", "Straße 0.90"), ("猫", "p0 0.90")):
        assert list(tags([result(SQUARE, text=text)]).tags.values()) == [shown]
