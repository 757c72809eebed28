"""Every backend behind the seam answers as transformers' own model, asked one by one."""

from pathlib import Path
from typing import Any, NamedTuple

import pytest
import torch
from open_detectors import open_detector, rows_of
from random_sam3 import SIDE

from pipeline.errors import Refused
from pipeline.model import weights
from pipeline.model.detector import Detector, LiteTextDetector, Raw, Sam3Detector
from s3_sam3.contracts.errors import ErrorCode


TEXTS = ["red circle", "dog", "a"]
BOXES = torch.tensor([[[0.5, 0.5, 0.2, 0.2]], [[0.3, 0.3, 0.4, 0.2]], [[0.6, 0.2, 0.1, 0.3]]])
LABELS = torch.tensor([[1], [0], [1]])


class Opened(NamedTuple):
    """A backend, and the stock model and tokenizer of the same checkpoint."""

    detector: Sam3Detector
    model: Any
    tokenizer: Any


@pytest.fixture(scope="module", params=["sam3", "sam3_lite_text"])
def opened(request: pytest.FixtureRequest, checkpoint: Path, lite_text_checkpoint: Path) -> Opened:
    """Each backend on random weights."""
    folder = {"sam3": checkpoint, "sam3_lite_text": lite_text_checkpoint}[request.param]
    detector = open_detector(folder)
    assert detector.info.backend == request.param
    model, tokenizer = weights.load(weights.locate(folder))
    return Opened(detector, model, tokenizer)


@pytest.fixture(scope="module")
def squares() -> torch.Tensor:
    """Three pictures of noise."""
    noise = torch.Generator().manual_seed(1)
    return torch.randint(0, 256, (3, 3, SIDE, SIDE), dtype=torch.uint8, generator=noise)


def stock(opened: Opened, square: torch.Tensor, text: str, **boxes: torch.Tensor) -> Raw:
    """One picture and one prompt through the whole stock model."""
    tokens = opened.tokenizer(text, padding="max_length", max_length=32, return_tensors="pt")
    output = opened.model(pixel_values=square[None].float() / 127.5 - 1, **tokens, **boxes)
    return Raw(output.pred_logits, output.presence_logits, output.pred_boxes, output.pred_masks)


def furthest(one: Raw, other: Raw) -> float:
    """The largest difference of any number."""
    return max(float((a - b).abs().max()) for a, b in zip(one, other, strict=True))


def row(raw: Raw, place: int) -> Raw:
    """One row of an answer."""
    return Raw(*(part[place : place + 1] for part in raw))


@torch.inference_mode()
def test_rows_of_several_pictures_equal_the_stock_model(
    opened: Opened, squares: torch.Tensor
) -> None:
    """
    Three pictures and three texts in one pass.

    Negative control: the rows themselves differ by far more.
    """
    raw = opened.detector.detect(
        opened.detector.see(squares), *rows_of(opened.detector, TEXTS), None, None
    )
    for place, text in enumerate(TEXTS):
        assert furthest(row(raw, place), stock(opened, squares[place], text)) < 1e-5
    assert furthest(row(raw, 0), row(raw, 1)) > 1e-3


@torch.inference_mode()
def test_boxes_equal_the_stock_model(opened: Opened, squares: torch.Tensor) -> None:
    """Three prompts with a box each on one picture, whose features are expanded."""
    features = tuple(one.expand(3, -1, -1, -1) for one in opened.detector.see(squares[:1]))
    raw = opened.detector.detect(features, *rows_of(opened.detector, TEXTS), BOXES, LABELS)
    for place, text in enumerate(TEXTS):
        box = {"input_boxes": BOXES[place][None], "input_boxes_labels": LABELS[place][None]}
        assert furthest(row(raw, place), stock(opened, squares[0], text, **box)) < 1e-5


@torch.inference_mode()
def test_in_bfloat16_the_heads_stay_in_float32(checkpoint: Path, squares: torch.Tensor) -> None:
    """Only what was seen is in half precision; the answer is near and in float32."""
    half, full = open_detector(checkpoint, dtype="bfloat16"), open_detector(checkpoint)
    seen = half.see(squares)
    assert {one.dtype for one in seen} == {torch.bfloat16}
    answers = [
        one.detect(one.see(squares), *rows_of(one, TEXTS), None, None) for one in (half, full)
    ]
    assert {part.dtype for part in answers[0]} == {torch.float32}
    assert 0 < furthest(*answers) < 0.2


def test_a_text_of_too_many_tokens_is_refused(opened: Opened) -> None:
    """Thirty letters and two ends are 32 tokens; one letter more is refused."""
    opened.detector.check("a" * 30)
    with pytest.raises(Refused) as caught:
        opened.detector.check("a" * 31)
    assert caught.value.code is ErrorCode.PROMPT_TOO_LONG


@torch.inference_mode()
def test_what_a_text_means_does_not_depend_on_what_it_is_read_with(opened: Opened) -> None:
    """Alone or among others, remembered or new: the same features."""
    [(alone, _)] = opened.detector.read(["dog"])
    opened.detector.forget()
    [_, (among, _), _] = opened.detector.read(["a red circle", "dog", "x"])
    assert torch.allclose(alone, among, atol=1e-6)


def test_each_backend_has_its_own_class(checkpoint: Path, lite_text_checkpoint: Path) -> None:
    """`config.json` decides."""
    detectors: list[Detector] = [open_detector(checkpoint), open_detector(lite_text_checkpoint)]
    assert [type(one) for one in detectors] == [Sam3Detector, LiteTextDetector]
