"""Calls of the random SAM3: ask it, count its passes, make it fail."""

from typing import Any

import numpy as np
from PIL import Image
from random_sam3 import EVERYTHING

from pipeline.model.sam3 import Sam3Segmenter
from pipeline.model.segmentation_model import RequestContext, find, segment
from s3_sam3.contracts.manifest import Instance, PromptResult
from s3_sam3.contracts.prompts import Prompt
from s3_sam3.imaging import rle


def noise() -> Image.Image:
    """A picture of noise, wider than high."""
    random = np.random.default_rng(0)
    return Image.fromarray(random.integers(0, 256, (90, 130, 3), np.uint8))


def look(
    segmenter: Sam3Segmenter, picture: Image.Image, *prompts: Prompt
) -> tuple[PromptResult, ...]:
    """Everything the model finds."""
    return segment(segmenter, picture, prompts, EVERYTHING)


def ask_for(
    segmenter: Sam3Segmenter, picture: Image.Image, context: RequestContext, *texts: str
) -> tuple[PromptResult, ...]:
    """All three steps of one request."""
    prompts = tuple(Prompt(text=text) for text in texts)
    request = segmenter.prepare(picture, prompts, EVERYTHING, context)
    find(segmenter, request)
    return segmenter.trace(request)


def model_of(segmenter: Sam3Segmenter) -> Any:
    """Give the model behind the seam."""
    detector: Any = segmenter._detector
    return detector._model


def passes(segmenter: Sam3Segmenter, part: str) -> list[int]:
    """A list that grows by the number of rows at each pass of a part of the model."""
    rows: list[int] = []

    def count(_module: object, args: Any, kwargs: Any) -> None:
        first = args[0] if args else next(iter(kwargs.values()))
        rows.append(len(first[0] if isinstance(first, list) else first))

    module = model_of(segmenter).get_submodule(part)
    module.register_forward_pre_hook(count, with_kwargs=True)
    return rows


def close(one: PromptResult, other: PromptResult) -> bool:
    """Whether two results are equal but for float rounding, and the order of equal scores."""
    assert len(one.instances) == len(other.instances)
    left = list(other.instances)
    for mine in one.instances:
        twin = next((theirs for theirs in left if _same(mine, theirs)), None)
        if twin is None:
            return False
        left.remove(twin)
    return True


def _same(one: Instance, other: Instance) -> bool:
    """Whether two instances are equal but for float rounding."""
    return (
        abs(one.score - other.score) < 1e-4
        and np.allclose(one.box, other.box, atol=0.05)
        and bool((rle.decode(one.rle) != rle.decode(other.rle)).mean() < 1e-3)
    )


def fail_when(segmenter: Sam3Segmenter, part: str, error: Exception, rows: int = 1) -> Any:
    """Let a part of the model raise when it gets at least so many rows."""

    def check(_module: object, _args: Any, kwargs: Any) -> None:
        if len(kwargs["text_features"]) >= rows:
            raise error

    module = model_of(segmenter).get_submodule(part)
    return module.register_forward_pre_hook(check, with_kwargs=True)
