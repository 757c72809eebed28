"""The fake model finds plain colours, the same way every time, without torch."""

import subprocess
import sys
from io import BytesIO

import numpy as np
import pytest
from pictures import shapes
from PIL import Image

from pipeline.errors import Refused
from pipeline.model.fake_model import FakeSegmenter
from pipeline.model.segmentation_model import segment
from s3_sam3.contracts.errors import ErrorCode
from s3_sam3.contracts.manifest import PromptResult
from s3_sam3.contracts.prompts import Box, BoxLabel, Prompt, SegmentOptions
from s3_sam3.imaging import rle


def found(*prompts: Prompt, options: SegmentOptions | None = None) -> tuple[PromptResult, ...]:
    """What the fake model finds in a picture of a red circle and a blue square."""
    picture = Image.open(BytesIO(shapes())).convert("RGB")
    return segment(FakeSegmenter(), picture, prompts, options)


def test_a_colour_word_finds_the_shape_of_that_colour() -> None:
    """`red circle` is the red area, pixel by pixel; `blue` the blue one."""
    red, blue = found(Prompt(text="red circle"), Prompt(text="a blue square"))
    [circle], [square] = red.instances, blue.instances
    picture = np.asarray(Image.open(BytesIO(shapes())).convert("RGB"))
    assert np.array_equal(rle.decode(circle.rle), (picture == (215, 40, 40)).all(axis=2))
    assert square.score > circle.score
    assert (circle.label, square.label) == (1, 2)


def test_shape_means_any_colour_and_a_strange_word_nothing() -> None:
    """`shape` finds both; `dog` finds none, with presence 0."""
    shape, dog = found(Prompt(text="shape"), Prompt(text="dog"))
    assert len(shape.instances) == 2
    assert dog.instances == ()
    assert dog.presence == 0


def test_boxes_choose_colours() -> None:
    """A positive box adds the colour in its middle, a negative one takes it away."""
    square = Box(xyxy=(200, 80, 280, 160))
    not_square = square.model_copy(update={"label": BoxLabel.NEGATIVE})
    added, removed = found(Prompt(boxes=(square,)), Prompt(text="shape", boxes=(not_square,)))
    assert [one.label for one in added.instances] == [1]
    assert len(removed.instances) == 1
    assert added.instances[0].rle != removed.instances[0].rle


def test_the_answer_is_always_the_same() -> None:
    """Two runs are equal."""
    assert found(Prompt(text="shape")) == found(Prompt(text="shape"))


def test_threshold_and_cap_apply() -> None:
    """A high threshold drops the circle; a cap of one leaves the best and says truncated."""
    [strict] = found(Prompt(text="shape", threshold=0.95))
    assert len(strict.instances) == 1
    [capped] = found(Prompt(text="shape"), options=SegmentOptions(max_instances=1))
    assert capped.truncated
    assert capped.instances[0].score == 1


def test_area_overlap_and_floor_apply() -> None:
    """Small areas and doubles are no instances but stay candidates, as far as the floor lets."""
    whole = found(Prompt(text="shape"))[0]
    areas = sorted(instance.area for instance in whole.instances)
    [large] = found(Prompt(text="shape"), options=SegmentOptions(min_area=areas[-1]))
    assert [one.area for one in large.instances] == areas[-1:]
    assert [one.area for one in large.candidates] == areas[:-1]
    first, again = found(
        Prompt(text="shape"), Prompt(text="object"), options=SegmentOptions(nms=0.9)
    )
    assert first.instances == whole.instances
    assert again.instances == ()
    assert len(again.candidates) == len(areas)
    [strict] = found(Prompt(text="shape", threshold=1), options=SegmentOptions(floor=1))
    assert strict.candidates == ()


@pytest.mark.parametrize(
    ("prompt", "code"),
    [
        (Prompt(text="  "), ErrorCode.PROMPT_EMPTY),
        (Prompt(text="x" * 401), ErrorCode.PROMPT_TOO_LONG),
        (Prompt(boxes=(Box(xyxy=(400, 0, 500, 10)),)), ErrorCode.PROMPT_INVALID),
    ],
)
def test_bad_prompts_are_refused(prompt: Prompt, code: ErrorCode) -> None:
    """As the real model refuses them."""
    with pytest.raises(Refused) as caught:
        found(prompt)
    assert caught.value.code is code


def test_it_is_chosen_without_torch_or_transformers() -> None:
    """The server with the fake model imports neither, so it starts at once."""
    code = (
        "import sys; from pipeline import settings; from pipeline.server import app, model_host;"
        "s = settings.Settings(api_secret_key='k', sam3_weights_path='fake:');"
        "print(model_host.open_segmenter(s).info.name, {'torch', 'transformers'} & {*sys.modules})"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=False, timeout=30
    )
    assert done.stdout.strip() == "fake set()", done.stderr
