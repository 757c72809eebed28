"""SAM3 and the requests it serves: shared vision passes, abandoned ones, too little memory."""

import pytest
import torch
from PIL import Image
from random_sam3 import EVERYTHING
from random_sam3_calls import ask_for, close, fail_when, look, noise, passes

from pipeline.errors import OutOfMemory, Withdrawn
from pipeline.model.detector import Raw, Sam3Detector
from pipeline.model.feature_memory import FeatureMemory, Features
from pipeline.model.sam3 import Sam3Segmenter
from pipeline.model.segmentation_model import RequestContext
from s3_sam3.contracts.prompts import Box, BoxLabel, Prompt


@pytest.fixture(scope="module")
def picture() -> Image.Image:
    """A picture of noise."""
    return noise()


def test_tasks_on_one_picture_share_its_vision_pass(
    segmenter: Sam3Segmenter, picture: Image.Image
) -> None:
    """
    Four requests of one user about one picture, back to back, cost one vision pass.

    Negative control: with the memory off they cost four.
    """
    seen = passes(segmenter, "vision_encoder")
    for letter in "abcd":
        ask_for(segmenter, picture, RequestContext(scope="anna"), letter)
    assert seen == [1]
    segmenter._vision._memory = FeatureMemory(torch.device("cpu"), gpu_bytes=0, host_bytes=0)
    for letter in "abcd":
        ask_for(segmenter, picture, RequestContext(scope="anna"), letter)
    assert seen == [1] * 5


def test_pictures_that_take_turns_are_forgotten_between(
    segmenter: Sam3Segmenter, picture: Image.Image
) -> None:
    """Why tasks on one picture go together: with more pictures than fit, each costs a pass."""
    look(segmenter, picture, Prompt(text="a"))
    entry = segmenter.figures['vision_memory_bytes{tier="host"}']
    segmenter._vision._memory = FeatureMemory(
        torch.device("cpu"), gpu_bytes=0, host_bytes=int(4 * entry)
    )
    pictures = [picture.rotate(90 * turn, expand=True) for turn in range(4)]
    pictures.append(picture.transpose(Image.Transpose.FLIP_LEFT_RIGHT))
    seen = passes(segmenter, "vision_encoder")
    for letter in "ab":
        for one in pictures:
            ask_for(segmenter, one, RequestContext(), letter)
    assert len(seen) == 10
    for one in reversed(pictures):
        for letter in "ab":
            ask_for(segmenter, one, RequestContext(), letter)
    assert len(seen) == 14 - 3


def test_what_was_seen_for_one_user_is_not_used_for_another(
    segmenter: Sam3Segmenter, picture: Image.Image
) -> None:
    """Users learn nothing about what others sent, not even from the time it takes."""
    seen = passes(segmenter, "vision_encoder")
    for scope in ("anna", "ben", ""):
        ask_for(segmenter, picture, RequestContext(scope=scope), "a")
    assert seen == [1, 1, 1]


def test_an_abandoned_request_stops_at_the_next_batch(
    segmenter: Sam3Segmenter, picture: Image.Image
) -> None:
    """
    Sixteen prompts abandoned in the second batch: no third one, and the next request is served.

    Negative control: the same sixteen, not abandoned, take all four batches.
    """
    sixteen = "abcdefghijklmnop"
    context = RequestContext()
    batches = passes(segmenter, "detr_decoder")

    def abandon_in_the_second(*_: object) -> None:
        if len(batches) == 2:
            context.abandon()

    detector = segmenter._detector
    assert isinstance(detector, Sam3Detector)
    hook = detector._model.detr_decoder.register_forward_hook(abandon_in_the_second)
    with pytest.raises(Withdrawn):
        ask_for(segmenter, picture, context, *sixteen)
    assert (batches, context.computed) == ([4, 4], 8)
    hook.remove()
    ask_for(segmenter, picture, context := RequestContext(), *sixteen)
    assert (batches[2:], context.computed) == ([4] * 4, 16)


def test_a_frugal_request_goes_one_by_one_and_keeps_nothing(
    segmenter: Sam3Segmenter, picture: Image.Image
) -> None:
    """
    Frugal: memories dropped first, one prompt at a time, nothing remembered, the same result.

    Negative control: a request that is not frugal batches and remembers.
    """
    prompts = tuple(Prompt(text=letter) for letter in "abcd")
    expected = look(segmenter, picture, *prompts)
    batches = passes(segmenter, "detr_decoder")
    found = ask_for(segmenter, picture, RequestContext(frugal=True), *"abcd")
    assert batches == [1] * 4
    assert len(segmenter._vision._memory) == 0
    for result, one in zip(found, expected, strict=True):
        assert close(result, one)
    look(segmenter, picture, *prompts)
    assert batches[4:] == [4]
    assert len(segmenter._vision._memory) == 1


def test_after_memory_ran_out_the_next_request_is_served(
    segmenter: Sam3Segmenter, picture: Image.Image
) -> None:
    """Out of memory even with one prompt: an error, empty memories, and then as before."""
    expected = look(segmenter, picture, Prompt(text="a"))
    hook = fail_when(segmenter, "detr_encoder", torch.OutOfMemoryError("CUDA out of memory"))
    with pytest.raises(OutOfMemory):
        look(segmenter, picture, Prompt(text="a"))
    assert len(segmenter._vision._memory) == 0
    hook.remove()
    assert look(segmenter, picture, Prompt(text="a")) == expected


BOX = Box(xyxy=(10, 10, 60, 50))
NOT_BOX = Box(xyxy=(70, 20, 120, 80), label=BoxLabel.NEGATIVE)

#: Texts, boxes, both; several rows on one view, and again.
QUESTIONS = (
    (Prompt(text="a"), Prompt(text="b")),
    (Prompt(boxes=(BOX,)),),
    (Prompt(text="a", boxes=(BOX, NOT_BOX)), Prompt(text="b", boxes=(NOT_BOX,))),
    (Prompt(text="a"), Prompt(text="b")),
)


def remembered(segmenter: Sam3Segmenter, picture: Image.Image) -> list[torch.Tensor]:
    """A copy of all that is remembered: of a picture's views, and of the texts."""
    request = segmenter.prepare(picture, QUESTIONS[0], EVERYTHING, RequestContext())
    maps = segmenter._vision._memory.get(request.view_inputs[0].digest)
    assert maps is not None
    texts = segmenter._detector.read(["a", "b"])
    return [one.clone() for one in (*maps, *(part for text in texts for part in text))]


@pytest.mark.parametrize("writes", [False, True])
def test_what_is_remembered_is_never_written_to(
    segmenter: Sam3Segmenter, picture: Image.Image, *, writes: bool
) -> None:
    """
    After texts, boxes and the same questions again, alone and beside another picture's, each
    remembered bit is as it was, and so are the answers.

    Negative control: a model that changes a map in place is found out by both.
    """
    first = look(segmenter, picture, *QUESTIONS[0])
    before = remembered(segmenter, picture)
    seen = passes(segmenter, "vision_encoder")
    if writes:
        detect = segmenter._detector.detect

        def careless(features: Features, *rest: torch.Tensor) -> Raw:
            features[-1][:1].add_(1)
            return detect(features, *rest)

        segmenter._detector.detect = careless  # type: ignore[method-assign, assignment]
    for prompts in QUESTIONS:
        again = look(segmenter, picture, *prompts)
    after = remembered(segmenter, picture)
    together = [
        segmenter.prepare(one, QUESTIONS[2], EVERYTHING, RequestContext())
        for one in (picture, picture.rotate(180))
    ]
    while wanted := [request for request in together if request.wanted()]:
        segmenter.find(wanted)
    last = remembered(segmenter, picture)
    assert len(seen) == 1  # of the other picture
    for now in (after, last):
        same = [torch.equal(one, other) for one, other in zip(before, now, strict=True)]
        assert all(same) is not writes
    assert (again == first) is not writes
