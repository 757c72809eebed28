"""
Whether our masks are the stock ones: random pictures and prompts, through every path.

Each group of requests goes through the model together, so that rows of several requests share
batches; then again, so that what was seen is remembered; and its masks are traced in chunks of
whatever size the segmenter was given. The stock answers come from `plain`, one by one.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image

from bench import report
from bench.pipeline import pictures
from bench.pipeline.models import Loaded
from bench.pipeline.plain import Plain, Stock
from bench.pipeline.section import Part, new_table
from pipeline.model.detector import Sam3Detector
from pipeline.model.sam3 import Sam3Segmenter
from pipeline.model.sam3_request import Sam3Request
from pipeline.model.segmentation_model import RequestContext
from s3_sam3.contracts.limits import DEFAULT_MASK_THRESHOLD
from s3_sam3.contracts.manifest import ModelInfo, PromptResult
from s3_sam3.contracts.prompts import Box, BoxLabel, Prompt, SegmentOptions
from s3_sam3.imaging import rle


LIMIT: Final = 0.999
"""Least overlap (IoU) that counts as equal."""

MARGIN: Final = 1e-5
"""A pixel whose probability is nearer to the threshold is decided by the order of additions."""

TOGETHER: Final = 4
"""Requests in the model at once."""

EVERYTHING: Final = SegmentOptions(threshold=0)
"""A random model is sure of nothing."""

_MOST_PROMPTS: Final = 4
_SIDES: Final = (60, 520)
"""Shortest and longest side of the random pictures, in pixels."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RandomRequest:
    """One random request."""

    picture: Image.Image
    prompts: tuple[Prompt, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Compared:
    """One prompt's answer, compared with the stock one."""

    kind: str
    """What the prompt consisted of."""
    masks: int
    overlap: float
    """The lowest of its masks, of the pixels that are decided by more than `MARGIN`."""
    with_undecided: float
    """The same of all pixels: one of a small mask's is more than a thousandth."""
    score_error: float
    box_error: float
    """In pixels."""


def segmenter(loaded: Loaded, *, chunk_bytes: int = 2**28, dtype: str = "float32") -> Sam3Segmenter:
    """Our `Sam3Segmenter` around a model in memory, without a server."""
    info = ModelInfo(
        name="sam3",
        revision="random",
        dtype=dtype,
        device=str(loaded.model.device),
        code_version="bench",
        demo=False,
    )
    detector = Sam3Detector(model=loaded.model, tokenizer=loaded.tokenizer, info=info)
    return Sam3Segmenter(detector=detector, chunk_bytes=chunk_bytes)


def random_requests(count: int, seed: int = 0) -> list[RandomRequest]:
    """Draw *count* pictures with one to four prompts each: texts, boxes of both kinds, both."""
    random = np.random.default_rng(seed)
    asked = []
    for number in range(count):
        width, height = (int(side) for side in random.integers(*_SIDES, 2))
        prompts = tuple(
            _random_prompt(random, width, height)
            for _ in range(int(random.integers(1, _MOST_PROMPTS + 1)))
        )
        picture = pictures.picture((width, height), seed + number)
        asked.append(RandomRequest(picture=picture, prompts=prompts))
    return asked


def compare(
    ours: Sam3Segmenter, plain: Plain, asked: Sequence[RandomRequest]
) -> Iterator[Compared]:
    """Ask all of *asked* twice, in groups, and compare the answers with the plain example's."""
    for start in range(0, len(asked), TOGETHER):
        group = asked[start : start + TOGETHER]
        right = [[expected(plain, one.picture, prompt) for prompt in one.prompts] for one in group]
        for _ in range(2):
            answers = together(ours, group)
            for one, results, stock in zip(group, answers, right, strict=True):
                for prompt, result, should in zip(one.prompts, results, stock, strict=True):
                    yield held_against(result, should, kind=kind(prompt))


@dataclass(frozen=True, slots=True, kw_only=True)
class Expected:
    """The stock answer, and which of its pixels are firm."""

    stock: Stock
    firm: torch.Tensor
    """(n, height, width) bool."""


def expected(plain: Plain, picture: Image.Image, prompt: Prompt) -> Expected:
    """Ask the plain example; a pixel is firm when a slightly different threshold gives the same."""
    cut = DEFAULT_MASK_THRESHOLD
    stock, lower, higher = plain.cut_at(picture, prompt, cut, cut - MARGIN, cut + MARGIN)
    return Expected(stock=stock, firm=lower["masks"] == higher["masks"])


def together(ours: Sam3Segmenter, group: Sequence[RandomRequest]) -> list[tuple[PromptResult, ...]]:
    """Run several requests together, as the executor does."""
    requests: list[Sam3Request] = [
        ours.prepare(one.picture, one.prompts, EVERYTHING, RequestContext()) for one in group
    ]
    while waiting := [request for request in requests if request.wanted()]:
        ours.find(waiting)
    for request in requests:
        request.answer.result()
    return [ours.trace(request) for request in requests]


def held_against(result: PromptResult, expected: Expected, *, kind: str) -> Compared:
    """Pair each instance with the stock one of the nearest score and box, each of them once."""
    stock = expected.stock
    left = list(range(len(stock["scores"])))
    if len(result.instances) != len(left):
        msg = f"{len(result.instances)} instances, stock {len(left)}"
        raise AssertionError(msg)
    height, width = stock["masks"].shape[1:]
    # Ours are cut to the picture.
    edge = torch.tensor([width, height, width, height])
    boxes = stock["boxes"].cpu().clamp(min=0).minimum(edge)
    firm, whole, scores_off, boxes_off = [1.0], [1.0], [0.0], [0.0]
    for instance in result.instances:
        scores = (stock["scores"][left].cpu() - instance.score).abs()
        distances = (boxes[left] - torch.tensor(instance.box)).abs().amax(1)
        nearest = int((scores * max(width, height) + distances).argmin())
        place = left.pop(nearest)
        right, decided = stock["masks"][place].cpu().bool().numpy(), expected.firm[place].cpu()
        ours = rle.decode(instance.rle).astype(np.bool_)
        whole.append(overlap(ours, right))
        firm.append(overlap(ours & decided.numpy(), right & decided.numpy()))
        scores_off.append(float(scores[nearest]))
        boxes_off.append(float(distances[nearest]))
    return Compared(
        kind=kind,
        masks=len(result.instances),
        overlap=min(firm),
        with_undecided=min(whole),
        score_error=max(scores_off),
        box_error=max(boxes_off),
    )


def overlap(one: NDArray[np.bool_], other: NDArray[np.bool_]) -> float:
    """IoU of two masks; two empty ones are equal."""
    union = int((one | other).sum())
    return float((one & other).sum()) / union if union else 1.0


def kind(prompt: Prompt) -> str:
    """Name what a prompt consists of."""
    labels = {box.label.value for box in prompt.boxes}
    return " and ".join([*(["text"] if prompt.text else []), *sorted(labels, reverse=True)])


def _random_prompt(random: np.random.Generator, width: int, height: int) -> Prompt:
    has_text, has_boxes = random.random() < 0.7, random.random() < 0.5
    boxes = [_random_box(random, width, height) for _ in range(int(random.integers(1, 4)))]
    text = pictures.words(1, int(random.integers(2**32)))[0]
    return Prompt(
        text=text if has_text or not has_boxes else None,
        boxes=tuple(boxes) if has_boxes else (),
    )


def _random_box(random: np.random.Generator, width: int, height: int) -> Box:
    left, right = sorted(random.uniform(0, width, 2))
    top, bottom = sorted(random.uniform(0, height, 2))
    label = BoxLabel.POSITIVE if random.random() < 0.7 else BoxLabel.NEGATIVE
    return Box(
        xyxy=(left, top, max(right, left + 1), max(bottom, top + 1)),
        label=label,
    )


def measure(loaded: Loaded, *, count: int) -> Part:
    """Compare *count* pictures with masks traced at once, and some of them one by one."""
    plain = Plain(loaded)
    asked = random_requests(count)
    compared = [
        *compare(segmenter(loaded), plain, asked),
        *compare(segmenter(loaded, chunk_bytes=1), plain, asked[:: 2 * TOGETHER]),
    ]
    return summary(compared, f"{count} random pictures, one to four prompts each")


def summary(compared: Sequence[Compared], title: str) -> Part:
    """Tabulate comparisons by the kind of prompt; the worst is the target."""
    kinds = sorted({one.kind for one in compared})
    table = new_table(
        f"{title}: ours, batched, shared and remembered, and stock",
        *("prompts", "answers", "masks", "worst IoU", "worst IoU, undecided pixels too"),
        *("score off by", "box off by, px"),
    )
    figures = {}
    for name in [*kinds, "all"]:
        some = [one for one in compared if name in {one.kind, "all"}]
        worst = {
            "answers": len(some),
            "masks": sum(one.masks for one in some),
            "worst_iou": min(one.overlap for one in some),
            "worst_iou_with_undecided_pixels": min(one.with_undecided for one in some),
            "score_error": max(one.score_error for one in some),
            "box_error_px": max(one.box_error for one in some),
        }
        figures[name] = worst
        table.add_row(name, *(f"{value:.6g}" for value in worst.values()))
    target = report.Target(
        name=f"lowest IoU of a mask with stock's, {title}",
        measured=min(one.overlap for one in compared),
        limit=LIMIT,
        unit="",
        at_least=True,
    )
    return Part(table=table, figures=figures, targets=[target])
