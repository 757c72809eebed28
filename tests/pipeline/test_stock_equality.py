"""The served answer equals transformers' model, called plainly, and the stock post-processing."""

from itertools import permutations
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import torch
from PIL import Image
from random_sam3 import EVERYTHING, SIDE

from pipeline.model import torchvision_fallback
from pipeline.model.sam3 import Sam3Segmenter
from pipeline.model.segmentation_model import segment
from s3_sam3.contracts.manifest import PromptResult
from s3_sam3.contracts.prompts import Box, BoxLabel, Prompt
from s3_sam3.imaging import rle


if TYPE_CHECKING:
    from transformers import CLIPTokenizer, Sam3Model

Stock = dict[str, torch.Tensor]

SIZE = (520, 360)  # width, height in pixels
BOX = Box(xyxy=(40, 40, 240, 200))
NOT_BOX = Box(xyxy=(280, 80, 480, 320), label=BoxLabel.NEGATIVE)
PROMPTS = {
    "text": Prompt(text="red circle"),
    "box": Prompt(boxes=(BOX,)),
    "both": Prompt(text="dog", boxes=(BOX, NOT_BOX)),
}


@pytest.fixture(scope="module")
def picture() -> Image.Image:
    """Coarse noise: something to see at every place."""
    random = np.random.default_rng(2)
    cells = Image.fromarray(random.integers(0, 256, (18, 26, 3), np.uint8))
    return cells.resize(SIZE, Image.Resampling.BICUBIC)


@pytest.fixture(scope="module")
def expected(checkpoint: Path, picture: Image.Image) -> dict[str, Stock]:
    """Each prompt's stock answer, asked one by one."""
    from transformers import CLIPTokenizer, Sam3Model

    torchvision_fallback.install()  # boxes cannot be pooled without torchvision otherwise
    model = Sam3Model.from_pretrained(checkpoint).eval()
    tokenizer = CLIPTokenizer.from_pretrained(checkpoint)
    return {name: stock(model, tokenizer, picture, prompt) for name, prompt in PROMPTS.items()}


def stock(
    model: "Sam3Model", tokenizer: "CLIPTokenizer", picture: Image.Image, prompt: Prompt
) -> Stock:
    """
    One prompt through `Sam3Model` as its documentation shows, best instance first.

    Then `post_process_instance_segmentation` in plain torch: probabilities, not logits, are
    upsampled, all at once. `Sam3Processor` itself needs torchvision; test_preprocess.py holds its
    pixels against ours.
    """
    text = tokenizer(
        prompt.text or "visual", padding="max_length", max_length=32, return_tensors="pt"
    )
    square = np.array(picture.resize((SIDE, SIDE), Image.Resampling.BILINEAR), np.float32)
    pixels = torch.from_numpy(square / 127.5 - 1).permute(2, 0, 1)[None]
    with torch.inference_mode():
        raw = model(**text, **stock_boxes(prompt), pixel_values=pixels)
        scores = raw.pred_logits[0].sigmoid() * raw.presence_logits[0].sigmoid()
        large = torch.nn.functional.interpolate(
            raw.pred_masks.sigmoid(), size=SIZE[::-1], mode="bilinear", align_corners=False
        )[0]
    best = scores.argsort(descending=True, stable=True)
    boxes = raw.pred_boxes[0].clamp(0, 1) * torch.tensor(SIZE * 2)
    return {"scores": scores[best], "boxes": boxes[best], "masks": (large > 0.5)[best]}


def stock_boxes(prompt: Prompt) -> dict[str, Any]:
    """Boxes as `Sam3Processor` hands them to the model: middle and extent, in 0..1."""
    if not prompt.boxes:
        return {}
    corners = torch.tensor([box.xyxy for box in prompt.boxes]) / torch.tensor(SIZE * 2)
    middle, extent = (corners[:, :2] + corners[:, 2:]) / 2, corners[:, 2:] - corners[:, :2]
    positive = [int(box.label is BoxLabel.POSITIVE) for box in prompt.boxes]
    return {
        "input_boxes": torch.cat([middle, extent], dim=1)[None],
        "input_boxes_labels": torch.tensor([positive]),
    }


def worst_overlap(result: PromptResult, expected: Stock) -> float:
    """The lowest overlap (IoU) of a mask with the stock one of the same rank."""
    overlaps = []
    for instance, mask in zip(result.instances, expected["masks"].numpy(), strict=True):
        ours = rle.decode(instance.rle).view(np.bool_)
        overlaps.append(float((ours & mask).sum() / (ours | mask).sum()))
    return min(overlaps)


def assert_equal(result: PromptResult, expected: Stock) -> None:
    """Scores, boxes and masks agree, instance by instance."""
    scores = [instance.score for instance in result.instances]
    assert scores == pytest.approx(expected["scores"].tolist(), abs=1e-4)
    boxes = [instance.box for instance in result.instances]
    assert np.allclose(boxes, expected["boxes"].numpy(), atol=0.05)
    assert worst_overlap(result, expected) >= 0.999


def test_alone_each_prompt_has_the_stock_answer(
    segmenter: Sam3Segmenter, picture: Image.Image, expected: dict[str, Stock]
) -> None:
    """
    A text, a box, and both.

    Negative control: another prompt's answer overlaps less.
    """
    results = {}
    for name, prompt in PROMPTS.items():
        [results[name]] = segment(segmenter, picture, (prompt,), EVERYTHING)
        assert_equal(results[name], expected[name])
    for one, other in permutations(PROMPTS, 2):
        assert worst_overlap(results[one], expected[other]) < 0.99


def test_together_each_prompt_has_the_stock_answer(
    segmenter: Sam3Segmenter, picture: Image.Image, expected: dict[str, Stock]
) -> None:
    """Rows of one request, batched and padded, equal the stock model asked one by one."""
    results = segment(segmenter, picture, tuple(PROMPTS.values()), EVERYTHING)
    for name, result in zip(PROMPTS, results, strict=True):
        assert_equal(result, expected[name])
