"""The real classes with random weights: shared passes, batches, limits, failures."""

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from PIL import Image
from random_sam3 import EVERYTHING, KEY, SIDE
from random_sam3_calls import close, fail_when, look, noise, passes

from pipeline import settings
from pipeline.errors import ModelDied, ModelFailed, OutOfMemory, PipelineError, Refused
from pipeline.model import postprocess, preprocess
from pipeline.model.detector import Sam3Detector
from pipeline.model.sam3 import Sam3Segmenter
from pipeline.model.segmentation_model import RequestContext, find, segment
from pipeline.model.work_items import View
from s3_sam3.contracts.errors import ErrorCode
from s3_sam3.contracts.prompts import Box, BoxLabel, Prompt, SegmentOptions


BOX = Box(xyxy=(10, 10, 60, 50))
NOT_BOX = Box(xyxy=(70, 20, 120, 80), label=BoxLabel.NEGATIVE)


@pytest.fixture(scope="module")
def picture() -> Image.Image:
    """A picture of noise."""
    return noise()


def test_the_answer_equals_the_plain_model(segmenter: Sam3Segmenter, picture: Image.Image) -> None:
    """Features handed over, expanded and cached give what one stock forward pass gives."""
    [result] = look(segmenter, picture, Prompt(text="red circle"))
    detector = segmenter._detector
    assert isinstance(detector, Sam3Detector)
    tokens = detector._texts._tokenize(["red circle"], pad=True)
    with torch.inference_mode():
        output = detector._model(
            pixel_values=preprocess.to_pixel_values(picture, SIDE),
            input_ids=torch.tensor(tokens["input_ids"]),
            attention_mask=torch.tensor(tokens["attention_mask"]),
        )
    kept = postprocess.keep(
        id_="p0",
        text="red circle",
        logits=output.pred_logits[0],
        presence_logit=output.presence_logits[0],
        boxes=output.pred_boxes[0],
        masks=output.pred_masks[0],
        threshold=None,
        lowest=0,
        view=View(0, 0, 130, 90),
    )
    [expected] = postprocess.trace(
        ((kept,),), width=130, height=90, options=EVERYTHING, chunk_bytes=10**8
    )
    assert len(result.instances) == 8
    assert close(result, expected)


def test_prompts_differ(segmenter: Sam3Segmenter, picture: Image.Image) -> None:
    """Negative control of the comparison: another text gives another answer."""
    red, dog = look(segmenter, picture, Prompt(text="red circle"), Prompt(text="dog"))
    assert not close(red, dog)


def test_many_prompts_give_what_each_gives_alone(
    segmenter: Sam3Segmenter, picture: Image.Image
) -> None:
    """Texts, boxes, both, different numbers of boxes: batched rows equal single calls, in order."""
    prompts = (
        Prompt(text="red circle"),
        Prompt(boxes=(BOX,)),
        Prompt(text="a dog"),
        Prompt(text="dog", boxes=(BOX, NOT_BOX)),
        Prompt(text="red circle", boxes=(NOT_BOX,)),
        Prompt(text="x"),
    )
    together = look(segmenter, picture, *prompts)
    assert [result.id for result in together] == [f"p{n}" for n in range(6)]
    for result, prompt in zip(together, prompts, strict=True):
        [alone] = look(segmenter, picture, prompt)
        assert close(result, alone)


def test_a_picture_is_seen_once(segmenter: Sam3Segmenter, picture: Image.Image) -> None:
    """
    Ten prompts, and a second request about the same picture, cost one vision pass.

    Negative control: another picture costs another.
    """
    seen = passes(segmenter, "vision_encoder")
    look(segmenter, picture, *(Prompt(text=letter) for letter in "abcdefghij"))
    look(segmenter, picture.copy(), Prompt(text="k"))
    assert seen == [1]
    look(segmenter, picture.transpose(Image.Transpose.ROTATE_180), Prompt(text="a"))
    assert seen == [1, 1]


def test_a_text_is_encoded_once(segmenter: Sam3Segmenter, picture: Image.Image) -> None:
    """A string that was seen before is not encoded again; new ones are encoded together."""
    encoded = passes(segmenter, "text_encoder")
    look(segmenter, picture, Prompt(text="a"), Prompt(text="b"), Prompt(text="a"))
    look(segmenter, picture, Prompt(text="b"), Prompt(text="c"))
    assert encoded == [2, 1]


def test_remembered_features_are_not_changed_by_use(
    segmenter: Sam3Segmenter, picture: Image.Image
) -> None:
    """The same question twice has the same answer, bit by bit."""
    prompts = (Prompt(text="a"), Prompt(text="a", boxes=(BOX,)))
    assert look(segmenter, picture, *prompts) == look(segmenter, picture, *prompts)


def test_32_tokens_pass_and_33_do_not(segmenter: Sam3Segmenter, picture: Image.Image) -> None:
    """The tokenizer counts start and end; one letter is one token here."""
    assert look(segmenter, picture, Prompt(text="a" * 30))
    with pytest.raises(Refused, match="this one has 33") as caught:
        look(segmenter, picture, Prompt(text="a" * 31))
    assert caught.value.code is ErrorCode.PROMPT_TOO_LONG


@pytest.mark.parametrize("text", [None, "", "  \n "])
def test_a_prompt_without_anything_is_refused(
    segmenter: Sam3Segmenter, picture: Image.Image, text: str | None
) -> None:
    """No words and no boxes: nothing to look for."""
    with pytest.raises(Refused) as caught:
        look(segmenter, picture, Prompt(text=text))
    assert caught.value.code is ErrorCode.PROMPT_EMPTY


def test_a_box_is_cut_to_the_picture(segmenter: Sam3Segmenter, picture: Image.Image) -> None:
    """A box that reaches out of the picture counts as its part inside; one outside is refused."""
    out, inside = (Box(xyxy=(100, 50, right, bottom)) for right, bottom in ((900, 900), (130, 90)))
    reaching, cut = look(segmenter, picture, Prompt(boxes=(out,)), Prompt(boxes=(inside,)))
    assert close(reaching, cut)
    with pytest.raises(Refused, match="outside"):
        look(segmenter, picture, Prompt(boxes=(Box(xyxy=(130, 0, 140, 10)),)))


def test_each_prompt_has_its_own_threshold(segmenter: Sam3Segmenter, picture: Image.Image) -> None:
    """A prompt's threshold goes before the request's."""
    prompts = (Prompt(text="a", threshold=1), Prompt(text="a", threshold=0), Prompt(text="a"))
    strict, free, default = segment(segmenter, picture, prompts, SegmentOptions(threshold=1))
    assert (len(strict.instances), len(free.instances), len(default.instances)) == (0, 8, 0)


def test_memory_running_out_is_answered_with_smaller_batches(
    segmenter: Sam3Segmenter, picture: Image.Image
) -> None:
    """Four prompts that do not fit at once are done one by one, with the same result."""
    prompts = tuple(Prompt(text=letter) for letter in "abcd")
    expected = look(segmenter, picture, *prompts)
    fail_when(segmenter, "detr_encoder", torch.OutOfMemoryError("CUDA out of memory"), rows=2)
    for result, one in zip(look(segmenter, picture, *prompts), expected, strict=True):
        assert close(result, one)


@pytest.mark.parametrize(
    ("error", "kind"),
    [
        (torch.OutOfMemoryError("CUDA out of memory"), OutOfMemory),
        (MemoryError(), OutOfMemory),
        (torch.AcceleratorError("CUDA error: an illegal memory access", 700), ModelDied),
        (RuntimeError("CUDA error: CUBLAS_STATUS_EXECUTION_FAILED"), ModelDied),
        (RuntimeError("shapes do not match"), ModelFailed),
    ],
)
def test_torchs_errors_are_told_apart(
    segmenter: Sam3Segmenter, picture: Image.Image, error: Exception, kind: type[PipelineError]
) -> None:
    """No memory, a lost GPU, and an ordinary failure have different consequences."""
    fail_when(segmenter, "detr_encoder", error)
    with pytest.raises(kind):
        look(segmenter, picture, Prompt(text="a"))


def test_tracing_survives_a_full_gpu(segmenter: Sam3Segmenter, picture: Image.Image) -> None:
    """Found masks are dropped nowhere: the three steps hand over what the model gave."""
    request = segmenter.prepare(picture, (Prompt(text="a"),), EVERYTHING, RequestContext())
    find(segmenter, request)
    first, second = (segmenter.trace(request) for _ in range(2))
    assert first == second


def test_bfloat16_is_only_the_pictures(
    checkpoint: Path, make_settings: Callable[..., settings.Settings], picture: Image.Image
) -> None:
    """In bfloat16 the vision features are half, the heads' outputs stay float32 and close."""
    from pipeline.server import model_host

    given = {"api_secret_key": KEY, "sam3_weights_path": str(checkpoint), "sam3_device": "cpu"}
    half = model_host.open_segmenter(make_settings(**given, sam3_dtype="bfloat16"))
    full = model_host.open_segmenter(make_settings(**given, sam3_dtype="float32"))
    assert isinstance(half, Sam3Segmenter)
    assert isinstance(full, Sam3Segmenter)
    prompts = (Prompt(text="a"), Prompt(text="a", boxes=(BOX,)))
    request, exact = (
        each.prepare(picture, prompts, EVERYTHING, RequestContext()) for each in (half, full)
    )
    find(half, request)
    find(full, exact)
    remembered = half._vision._memory.get(request.view_inputs[0].digest)
    assert remembered is not None
    assert remembered[0].dtype is torch.bfloat16
    waiting = (each._masks._waiting.values() for each in (half, full))
    for one, other in zip(*waiting, strict=True):
        assert one.boxes.dtype is torch.float32
        assert (one.scores - other.scores).abs().max() < 0.05
