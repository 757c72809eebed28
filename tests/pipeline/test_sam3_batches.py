"""Requests that share SAM3's passes: the same answers, fewer passes, failures of their own only."""

from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from random_sam3 import EVERYTHING
from random_sam3_calls import close, fail_when, model_of, noise, passes

from pipeline.errors import ModelDied, ModelFailed, NotReady, OutOfMemory, Withdrawn
from pipeline.model.batching import BatchSize
from pipeline.model.sam3 import Sam3Segmenter
from pipeline.model.sam3_request import Sam3Request
from pipeline.model.segmentation_model import RequestContext
from s3_sam3.contracts.manifest import PromptResult
from s3_sam3.contracts.prompts import Box, BoxLabel, Prompt, SegmentOptions
from s3_sam3.imaging import rle


BOX = Box(xyxy=(10, 10, 60, 50))
NOT_BOX = Box(xyxy=(70, 20, 120, 80), label=BoxLabel.NEGATIVE)
TILED = EVERYTHING.model_copy(update={"tiles": 2})
REGION = EVERYTHING.model_copy(update={"region": (10, 10, 90, 80)})


def turned(turn: int) -> Image.Image:
    """One of four pictures."""
    return noise().rotate(90 * turn, expand=True)


def texts(letters: str) -> tuple[Prompt, ...]:
    """A prompt for each letter."""
    return tuple(Prompt(text=letter) for letter in letters)


def prepared(
    segmenter: Sam3Segmenter,
    picture: Image.Image,
    prompts: tuple[Prompt, ...],
    options: SegmentOptions = EVERYTHING,
    **context: Any,
) -> Sam3Request:
    """A request ready for the model."""
    return segmenter.prepare(picture, prompts, options, RequestContext(**context))


def run(segmenter: Sam3Segmenter, *requests: Sam3Request) -> list[tuple[PromptResult, ...] | None]:
    """Take all through the model together, as the executor does; None for what failed."""
    while wanted := [request for request in requests if request.wanted()]:
        segmenter.find(wanted)
    return [
        None if request.answer.exception() else segmenter.trace(request) for request in requests
    ]


def mixed(segmenter: Sam3Segmenter) -> list[Sam3Request]:
    """Texts, boxes, both; several pictures; a region; tiles; as many requests."""
    return [
        prepared(segmenter, turned(0), texts("ab")),
        prepared(segmenter, turned(1), (Prompt(text="a"), Prompt(boxes=(BOX,)))),
        prepared(segmenter, turned(0), (Prompt(text="c", boxes=(BOX, NOT_BOX)),)),
        prepared(segmenter, turned(2), (*texts("ad"), Prompt(boxes=(BOX,))), REGION),
        prepared(segmenter, turned(3), (Prompt(text="e", boxes=(BOX,)), Prompt(text="f")), TILED),
    ]


@pytest.mark.parametrize("views", [1, 3])
def test_together_equals_one_by_one(segmenter: Sam3Segmenter, views: int) -> None:
    """
    Requests in shared batches get what each gets alone, whatever the vision batch is.

    Negative control: the answers of two of them differ, so one for another would show.
    """
    segmenter._vision._size = BatchSize(views)
    together = run(segmenter, *mixed(segmenter))
    for found, request in zip(together, mixed(segmenter), strict=True):
        [alone] = run(segmenter, request)
        assert found is not None
        assert alone is not None
        assert all(close(one, other) for one, other in zip(found, alone, strict=True))
    assert together[0] is not None
    assert together[1] is not None
    assert not close(together[0][0], together[1][0])


def test_waiting_requests_share_every_pass(segmenter: Sam3Segmenter) -> None:
    """
    Four requests about four pictures: one pass over the pictures, one over the texts, one of heads.

    Negative control: one after the other they cost four of each.
    """
    segmenter._vision._size = BatchSize(4)
    parts = ("vision_encoder", "text_encoder", "detr_decoder")
    counted = [passes(segmenter, part) for part in parts]
    run(segmenter, *(prepared(segmenter, turned(turn), texts("abcd"[turn])) for turn in range(4)))
    assert counted == [[4], [4], [4]]
    for turn in range(4):
        run(segmenter, prepared(segmenter, turned(turn), texts("efgh"[turn]), scope="other"))
    assert [rows[1:] for rows in counted] == [[1] * 4] * 3


def test_a_pass_is_filled_with_what_is_needed_next(segmenter: Sam3Segmenter) -> None:
    """
    The oldest fills the heads alone, but the pictures of those behind it are seen along with its.

    Negative control: where a pass takes one picture (a CPU) nobody waits for another's.
    """
    for views, expected in ((4, [3]), (1, [1])):
        segmenter._vision._size = BatchSize(views)
        segmenter._forget()
        seen = passes(segmenter, "vision_encoder")
        requests = [prepared(segmenter, turned(turn), texts("abcd")) for turn in range(3)]
        segmenter.find(requests)
        assert seen == expected
        run(segmenter, *requests)
        assert sum(seen) == 3


def test_a_short_request_does_not_wait_for_a_long_one(segmenter: Sam3Segmenter) -> None:
    """Six prompts and one: the one is closed by the second batch, with two of the six."""
    long = prepared(segmenter, turned(0), texts("abcdef"))
    short = prepared(segmenter, turned(1), texts("x"))
    segmenter.find([long, short])
    assert (long.context.computed, short.closed) == (4, False)
    segmenter.find([long, short])
    assert (long.closed, short.closed) == (True, True)


def test_one_that_fails_fails_alone(segmenter: Sam3Segmenter) -> None:
    """
    A picture that the model cannot see, in one pass with two others: they get their answers.

    Negative control: the same request without the broken model is answered.
    """
    segmenter._vision._size = BatchSize(4)
    white = Image.new("RGB", (130, 90), "white")

    def refuse_white(_module: object, args: Any, kwargs: Any) -> None:
        pixels = args[0] if args else kwargs["pixel_values"]
        if any(bool((one == 1).all()) for one in pixels):
            message = "white is not for me"
            raise RuntimeError(message)

    module = model_of(segmenter).vision_encoder
    hook = module.register_forward_pre_hook(refuse_white, with_kwargs=True)
    pictures = (turned(0), white, turned(1))
    requests = [prepared(segmenter, picture, texts("ab")) for picture in pictures]
    found = run(segmenter, *requests)
    assert [one is None for one in found] == [False, True, False]
    assert isinstance(requests[1].answer.exception(), ModelFailed)
    hook.remove()
    assert run(segmenter, prepared(segmenter, white, texts("ab"))) != [None]


def test_a_shared_batch_that_does_not_fit_is_halved(segmenter: Sam3Segmenter) -> None:
    """
    Four requests that fit one by one only: each gets what it gets alone.

    Negative control: one that does not fit alone is out of memory, and its neighbour is not.
    """
    pictures = [turned(turn) for turn in range(4)]
    expected = [run(segmenter, prepared(segmenter, one, texts("a")))[0] for one in pictures]
    hook = fail_when(segmenter, "detr_encoder", torch.OutOfMemoryError("full"), rows=2)
    found = run(segmenter, *(prepared(segmenter, one, texts("a")) for one in pictures))
    for one, other in zip(found, expected, strict=True):
        assert one is not None
        assert other is not None
        assert close(one[0], other[0])
    hook.remove()

    def never_fits(*_: Any) -> None:
        message = "full"
        raise torch.OutOfMemoryError(message)

    model_of(segmenter).geometry_encoder.register_forward_pre_hook(never_fits)
    boxed = prepared(segmenter, turned(0), (Prompt(boxes=(BOX,)),))
    plain = prepared(segmenter, turned(1), texts("a"))
    assert [one is None for one in run(segmenter, boxed, plain)] == [True, False]
    assert isinstance(boxed.answer.exception(), OutOfMemory)


def test_one_that_is_withdrawn_hurts_nobody(segmenter: Sam3Segmenter) -> None:
    """Abandoned after the first batch: no row of it runs any more; its neighbour is answered."""
    gone = prepared(segmenter, turned(0), texts("abcdefgh"))
    stays = prepared(segmenter, turned(1), texts("xy"))
    rows = passes(segmenter, "detr_decoder")
    segmenter.find([gone, stays])
    gone.context.abandon()
    assert run(segmenter, gone, stays)[0] is None
    assert isinstance(gone.answer.exception(), Withdrawn)
    assert rows == [4, 2]


def test_a_frugal_request_runs_alone(segmenter: Sam3Segmenter) -> None:
    """Those beside it go first or after it, never with it; one row at a time is its own."""
    requests = [
        prepared(segmenter, turned(0), texts("ab")),
        prepared(segmenter, turned(1), texts("cd"), frugal=True),
        prepared(segmenter, turned(2), texts("e")),
    ]
    rows = passes(segmenter, "detr_decoder")
    assert None not in run(segmenter, *requests)
    assert rows == [3, 1, 1]


def test_after_a_lost_gpu_the_others_hear_that_it_is_gone(segmenter: Sam3Segmenter) -> None:
    """Those in the batch failed; those behind it, and all later ones, find no model."""
    fail_when(segmenter, "detr_encoder", torch.AcceleratorError("CUDA error: lost", 700))
    inside = prepared(segmenter, turned(0), texts("abcd"))
    behind = prepared(segmenter, turned(1), texts("e"))
    run(segmenter, inside, behind)
    assert isinstance(inside.answer.exception(), ModelDied)
    assert isinstance(behind.answer.exception(), NotReady)


def test_a_region_is_seen_as_if_it_had_been_cut_out(segmenter: Sam3Segmenter) -> None:
    """
    The same scores and masks as of the cut picture, in their place in the whole one.

    Negative control: the whole picture is answered differently.
    """
    prompts = (Prompt(text="a"), Prompt(text="b", boxes=(Box(xyxy=(20, 30, 60, 70)),)))
    shifted = (Prompt(text="a"), Prompt(text="b", boxes=(Box(xyxy=(10, 20, 50, 60)),)))
    cut = noise().crop((10, 10, 90, 80))
    [region], [alone], [whole] = (
        run(segmenter, prepared(segmenter, picture, asked, options))
        for picture, asked, options in (
            (noise(), prompts, REGION),
            (cut, shifted, EVERYTHING),
            (noise(), prompts, EVERYTHING),
        )
    )
    assert region
    assert alone
    assert whole
    for one, other in zip(region, alone, strict=True):
        for mine, theirs in zip(one.instances, other.instances, strict=True):
            assert abs(mine.score - theirs.score) < 1e-4
            assert np.allclose(np.subtract(mine.box, (10, 10, 10, 10)), theirs.box, atol=0.05)
            assert np.array_equal(rle.decode(mine.rle)[10:80, 10:90], rle.decode(theirs.rle))
            assert mine.area == theirs.area
    assert not close(region[0], whole[0])


def test_tiles_are_views_of_their_own(segmenter: Sam3Segmenter) -> None:
    """Two by two tiles and the whole are five views, each seen once for all prompts."""
    seen = passes(segmenter, "vision_encoder")
    request = prepared(segmenter, noise(), texts("abc"), TILED)
    computed = []
    while request.wanted():
        segmenter.find([request])
        computed.append(request.context.computed)
    assert sum(seen) == TILED.passes == 5
    assert computed == sorted(computed)
    assert computed[-1] == 3
    assert len(request.traces) == 15


def test_the_figures_tell_how_full_the_passes_were(segmenter: Sam3Segmenter) -> None:
    """Six rows in two passes; three views, of which the memory knew one when it came again."""
    segmenter._vision._size = BatchSize(2)
    run(segmenter, *(prepared(segmenter, turned(turn), texts("ab")) for turn in range(2)))
    run(
        segmenter,
        prepared(segmenter, turned(2), texts("c")),
        prepared(segmenter, turned(0), texts("d")),
    )
    figures = segmenter.figures
    assert (figures["heads_passes_total"], figures["heads_rows_total"]) == (2, 6)
    assert (figures["vision_passes_total"], figures["vision_views_total"]) == (2, 3)
    assert figures["vision_memory_misses_total"] == 3
    assert figures['vision_memory_hits_total{tier="host"}'] == 1
    assert figures['vision_memory_bytes{tier="host"}'] > 0
