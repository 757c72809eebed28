"""Regions and boxes: the API refuses what the pipeline would, and nothing else."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from api import source_picture
from api.problems import Problem
from api.source_picture import Size
from pipeline.errors import Refused
from pipeline.model.work_items import clip_box, views
from s3_sam3.contracts.bodies import SegmentRequest
from s3_sam3.contracts.prompts import Box


SIZE = Size(width=64, height=48)


def asked(region: Any = None, *boxes: Any) -> SegmentRequest:
    """A request with that region and those boxes."""
    prompts = [{"text": "cat", "boxes": [{"xyxy": box} for box in boxes]}]
    return SegmentRequest.model_validate({"image_url": "x", "prompts": prompts, "region": region})


def refuses(request: SegmentRequest) -> bool:
    """Whether the API refuses it."""
    try:
        source_picture.check_geometry(request, SIZE)
    except Problem:
        return True
    return False


def pipeline_refuses(request: SegmentRequest) -> bool:
    """Whether the pipeline would."""
    try:
        seen = views(SIZE.width, SIZE.height, request)[0]
        for prompt in request.prompts:
            for box in prompt.boxes:
                clip_box(box, seen)
    except Refused:
        return True
    return False


@st.composite
def rectangles(draw: st.DrawFn) -> tuple[float, float, float, float]:
    """Rectangles in and around the picture, also between pixels."""
    left, top = (draw(st.integers(0, 150)) / 2 for _ in range(2))
    wide, high = (draw(st.integers(1, 100)) / 2 for _ in range(2))
    return left, top, left + wide, top + high


@given(st.none() | rectangles(), st.lists(rectangles(), max_size=2))
def test_both_refuse_the_same(region: Any, boxes: list[Any]) -> None:
    """A request that the worker would refuse is refused before it is paid."""
    request = asked(region, *boxes)

    assert refuses(request) == pipeline_refuses(request)


@pytest.mark.parametrize(
    ("region", "boxes", "wrong"),
    [
        (None, [(0, 0, 64, 48)], False),
        (None, [(63.5, 47.5, 100, 100)], False),
        (None, [(64, 0, 65, 1)], True),
        ((60, 40, 100, 100), [], False),
        ((64, 0, 65, 1), [], True),
        ((0, 0, 9, 9), [(8, 8, 20, 20)], False),
        ((0, 0, 9, 9), [(9, 9, 20, 20)], True),
    ],
)
def test_what_hangs_out_is_taken_and_what_lies_beside_is_not(
    region: Any, boxes: list[Any], *, wrong: bool
) -> None:
    """Parts that hang out are cut off, and something has to be left."""
    assert refuses(asked(region, *boxes)) is wrong


def test_a_picture_of_unknown_size_is_left_to_the_pipeline() -> None:
    """Nothing is refused on a guess."""
    source_picture.check_geometry(asked((1000, 1000, 1001, 1001), (5000, 0, 5001, 1)), None)


def test_the_details_say_which_box_and_what_is_looked_at() -> None:
    """The prompt's index, the box's index, and the rectangle that it should overlap."""
    with pytest.raises(Problem) as refusal:
        source_picture.check_geometry(asked((0, 0, 9.5, 9), (0, 0, 1, 1), (20, 20, 21, 21)), SIZE)

    assert refusal.value.details == {"prompt": 0, "box": 1, "looked_at": [0, 0, 10, 9]}


def test_the_pipeline_still_cuts_boxes_as_said_here() -> None:
    """Negative control: a box that just touches from outside has no pixel inside."""
    seen = views(SIZE.width, SIZE.height, asked())[0]

    with pytest.raises(Refused):
        clip_box(Box(xyxy=(64, 0, 65, 1)), seen)
