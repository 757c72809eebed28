"""The served answer equals transformers' model, called plainly, and the stock post-processing."""

from itertools import permutations
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from random_sam3 import EVERYTHING, SIDE

from contracts.manifest import PromptResult
from contracts.prompts import Box, BoxLabel, Prompt
from pipeline import rle
from pipeline.sam3 import Sam3Segmenter
from pipeline.segmenter import segment


SIZE = (260, 180)  # width, height in pixels
BOX = Box(xyxy=(20, 20, 120, 100))
NOT_BOX = Box(xyxy=(140, 40, 240, 160), label=BoxLabel.NEGATIVE)
PROMPTS = (
    Prompt(text="red circle"),
    Prompt(boxes=(BOX,)),
    Prompt(text="dog", boxes=(BOX, NOT_BOX)),
)


@pytest.fixture(scope="module")
def picture() -> Image.Image:
    """Coarse noise: something to see at every place."""
    random = np.random.default_rng(2)
    cells = Image.fromarray(random.integers(0, 256, (18, 26, 3), np.uint8))
    return cells.resize(SIZE, Image.Resampling.BICUBIC)


def stock(folder: Path, picture: Image.Image, prompt: Prompt) -> dict[str, torch.Tensor]:
    """
    One prompt through `Sam3Model` as its documentation shows, best first.

    Then `post_process_instance_segmentation` in plain torch: probabilities are upsampled, all at
    once. `Sam3Processor` itself needs torchvision; what it does to pixels is tested beside
    `preprocess`.
    """
    from transformers import CLIPTokenizer, Sam3Model

    model = Sam3Model.from_pretrained(folder).eval()
    tokenizer = CLIPTokenizer.from_pretrained(folder)
    words = prompt.text or "visual"
    text = tokenizer(words, padding="max_length", max_length=32, return_tensors="pt")
    square = np.array(picture.resize((SIDE, SIDE), Image.Resampling.BILINEAR), np.float32)
    given = {"pixel_values": torch.from_numpy(square / 127.5 - 1).permute(2, 0, 1)[None]}
    if prompt.boxes:
        corners = torch.tensor([box.xyxy for box in prompt.boxes]) / torch.tensor(SIZE * 2)
        middle, extent = (corners[:, :2] + corners[:, 2:]) / 2, corners[:, 2:] - corners[:, :2]
        given["input_boxes"] = torch.cat([middle, extent], dim=1)[None]
        positive = [box.label is BoxLabel.POSITIVE for box in prompt.boxes]
        given["input_boxes_labels"] = torch.tensor([positive], dtype=torch.long)
    with torch.inference_mode():
        raw = model(**text, **given)
    scores = raw.pred_logits[0].sigmoid() * raw.presence_logits[0].sigmoid()
    best = scores.argsort(descending=True, stable=True)
    large = torch.nn.functional.interpolate(
        raw.pred_masks.sigmoid(), size=SIZE[::-1], mode="bilinear", align_corners=False
    )[0]
    boxes = raw.pred_boxes[0].clamp(0, 1) * torch.tensor(SIZE * 2)
    return {"scores": scores[best], "boxes": boxes[best], "masks": (large > 0.5)[best]}


def worst_overlap(result: PromptResult, expected: dict[str, torch.Tensor]) -> float:
    """The lowest overlap (IoU) of a mask with the stock one of the same rank."""
    overlaps = []
    for instance, mask in zip(result.instances, expected["masks"].numpy(), strict=True):
        ours = rle.decode(instance.rle).view(np.bool_)
        union = (ours | mask).sum()
        overlaps.append(float((ours & mask).sum() / union) if union else 1.0)
    return min(overlaps)


@pytest.mark.parametrize("prompt", PROMPTS, ids=["text", "box", "both"])
@pytest.mark.parametrize("company", [(), PROMPTS], ids=["alone", "in a batch"])
def test_the_answer_equals_the_stock_one(
    checkpoint: Path,
    segmenter: Sam3Segmenter,
    picture: Image.Image,
    prompt: Prompt,
    company: tuple[Prompt, ...],
) -> None:
    """Scores, boxes and masks of a text, a box, and both: alone, and beside other prompts."""
    result = segment(segmenter, picture, (prompt, *company), EVERYTHING)[0]
    expected = stock(checkpoint, picture, prompt)
    print(worst_overlap(result, expected), [i.area for i in result.instances])
    scores = [instance.score for instance in result.instances]
    assert scores == pytest.approx(expected["scores"].tolist(), abs=1e-4)
    boxes = [instance.box for instance in result.instances]
    assert np.allclose(boxes, expected["boxes"].numpy(), atol=0.05)
    assert worst_overlap(result, expected) >= 0.999


@pytest.mark.parametrize(("one", "other"), permutations(PROMPTS, 2))
def test_the_comparison_tells_prompts_apart(
    checkpoint: Path, segmenter: Sam3Segmenter, picture: Image.Image, one: Prompt, other: Prompt
) -> None:
    """Negative control: the answer to another prompt overlaps less."""
    [result] = segment(segmenter, picture, (one,), EVERYTHING)
    assert worst_overlap(result, stock(checkpoint, picture, other)) < 0.99
