"""What the model looks at: the whole, a region, tiles; and which exemplars each part is shown."""

from itertools import pairwise

import pytest

from pipeline.errors import Refused
from pipeline.model.work_items import View, WorkItem, views, work_items
from s3_sam3.contracts.errors import ErrorCode
from s3_sam3.contracts.prompts import Box, BoxLabel, Prompt, SegmentOptions


WHOLE = View(0, 0, 100, 60)
CAT = Box(xyxy=(10, 10, 20, 20))
NO_CAT = Box(xyxy=(80, 40, 90, 50), label=BoxLabel.NEGATIVE)


def parts(width: int, height: int, **options: object) -> tuple[View, ...]:
    """The views under these options."""
    return views(width, height, SegmentOptions.model_validate(options))


def rows(prompt: Prompt, *looked_at: View) -> list[WorkItem]:
    """What is asked about the whole and these tiles."""
    return list(work_items(prompt, place=0, views=(WHOLE, *looked_at)))


def test_the_whole_picture_is_one_view() -> None:
    """Without options there is one look at everything."""
    assert parts(100, 60) == (WHOLE,)


def test_a_region_grows_to_whole_pixels_and_is_cut_to_the_picture() -> None:
    """Half a pixel counts as one; what reaches out of the picture is left out."""
    assert parts(100, 60, region=(10.5, 3.2, 20.1, 99)) == (View(10, 3, 11, 57),)


@pytest.mark.parametrize("region", [(100, 0, 120, 10), (0, 60, 10, 70)])
def test_a_region_outside_is_refused(region: tuple[float, ...]) -> None:
    """There is nothing to look at."""
    with pytest.raises(Refused, match="region") as caught:
        parts(100, 60, region=region)
    assert caught.value.code is ErrorCode.PROMPT_INVALID


@pytest.mark.parametrize("tiles", [2, 3, 4])
@pytest.mark.parametrize("region", [None, (200, 100, 3000, 2100)])
@pytest.mark.parametrize("size", [(4032, 3024), (3001, 2111), (5, 3000), (640, 1)])
def test_tiles_cover_their_whole_and_overlap(
    size: tuple[int, int], tiles: int, region: tuple[float, ...] | None
) -> None:
    """Every pixel of the first view lies in a tile, none outside; neighbours share a fifth."""
    if region and (region[0] >= size[0] or region[1] >= size[1]):
        return
    whole, *rest = parts(*size, tiles=tiles, region=region)
    assert len(rest) == tiles**2
    columns = sorted({(tile.left, tile.right) for tile in rest})
    lines = sorted({(tile.top, tile.bottom) for tile in rest})
    for ends, first, last in (
        (columns, whole.left, whole.right),
        (lines, whole.top, whole.bottom),
    ):
        assert ends[0][0] == first
        assert ends[-1][1] == last
        for (_, end), (start, stop) in pairwise(ends):
            assert end - start >= 0.2 * (stop - start) - 2


def test_a_box_is_scaled_to_its_view() -> None:
    """Centre and size in 0..1 of what is looked at, from pixels of the picture."""
    region = View(5, 10, 20, 40)
    [row] = work_items(Prompt(boxes=(CAT,)), place=0, views=(region,))
    assert row.boxes == ((0.5, 0.125, 0.5, 0.25),)


def test_a_box_outside_of_the_first_view_is_refused() -> None:
    """An exemplar that cannot be shown is the caller's mistake."""
    with pytest.raises(Refused, match="outside") as caught:
        list(work_items(Prompt(boxes=(CAT,)), place=0, views=(View(50, 0, 50, 60),)))
    assert caught.value.code is ErrorCode.PROMPT_INVALID


def test_a_tile_is_asked_with_the_exemplars_that_it_shows() -> None:
    """
    Where the exemplar is not shown the text alone is asked; where half of it shows, both.

    Negative control: with less than half of it shown it is left out.
    """
    prompt = Prompt(text="cat", boxes=(CAT,))
    shown, half, sliver, away = (View(left, 0, 50, 60) for left in (0, 15, 16, 50))
    counts = [len(row.boxes) for row in rows(prompt, shown, half, sliver, away)]
    assert counts == [1, 1, 1, 0, 0]


def test_a_tile_without_words_and_exemplars_is_not_asked() -> None:
    """Boxes alone: only tiles that show a positive one are asked; the whole always is."""
    prompt = Prompt(boxes=(CAT, NO_CAT))
    left, right = View(0, 0, 50, 60), View(50, 0, 50, 60)
    assert [(row.view, row.labels) for row in rows(prompt, left, right)] == [(0, (1, 0)), (1, (1,))]
    assert [row.view for row in rows(Prompt(boxes=(NO_CAT,)), left, right)] == [0]
