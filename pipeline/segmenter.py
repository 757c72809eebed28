"""
What the server needs of a model, in the three steps that run on different threads.

`prepare` (any thread: tokens, resizing) → `find` (the model's one thread) → `trace` (any thread:
masks to run lengths). So the GPU never waits for a resize or for run lengths.
"""

from typing import Any, Protocol

from PIL import Image

from contracts import limits
from contracts.errors import ErrorCode
from contracts.manifest import ModelInfo, PromptResult
from contracts.prompts import Box, Prompt, SegmentOptions
from pipeline.errand import Errand
from pipeline.errors import Refused


class Segmenter(Protocol):
    """Finds and outlines what the prompts describe; what it hands from step to step is its own."""

    @property
    def info(self) -> ModelInfo:
        """Which model this is."""
        ...

    def prepare(self, picture: Image.Image, prompts: tuple[Prompt, ...], errand: Errand) -> Any:
        """
        Check the prompts and bring the picture into the model's form. Any thread.

        Raises:
            Refused: prompt_empty, prompt_too_long, or a box outside the picture.

        """
        ...

    def find(self, prepared: Any, options: SegmentOptions, errand: Errand) -> Any:
        """
        Run the model. One thread at a time. Checks *errand* before each batch of prompts.

        Raises:
            Withdrawn: the caller has gone.
            OutOfMemory: even in smaller steps.
            ModelFailed: the model raised.
            ModelDied: no later call can succeed in this process.

        """
        ...

    def trace(
        self, found: Any, options: SegmentOptions, errand: Errand
    ) -> tuple[PromptResult, ...]:
        """
        Outline what was found at the picture's own size, one result per prompt. Any thread.

        Raises:
            Withdrawn: the caller has gone.

        """
        ...


def segment(
    segmenter: Segmenter,
    picture: Image.Image,
    prompts: tuple[Prompt, ...],
    options: SegmentOptions | None = None,
) -> tuple[PromptResult, ...]:
    """Do all three steps in the caller's thread: for tests, benchmarks and training."""
    options = options or SegmentOptions()
    errand = Errand()
    prepared = segmenter.prepare(picture, prompts, errand)
    return segmenter.trace(segmenter.find(prepared, options, errand), options, errand)


def prompt_text(prompt: Prompt) -> str | None:
    """
    Give the prompt's words without outer spaces, None if it has none.

    Raises:
        Refused: prompt_empty without text and boxes; prompt_too_long by its characters.

    """
    text = (prompt.text or "").strip()
    if not text and not prompt.boxes:
        raise Refused(code=ErrorCode.PROMPT_EMPTY)
    if len(text) > limits.MAX_TEXT_CHARACTERS:
        raise Refused(code=ErrorCode.PROMPT_TOO_LONG)
    return text or None


def clip_box(box: Box, width: int, height: int) -> tuple[float, float, float, float]:
    """
    Cut a box to the picture: xyxy in pixels.

    Raises:
        Refused: nothing of it lies inside.

    """
    left, top, right, bottom = box.xyxy
    if left >= width or top >= height:
        raise Refused(f"The box {box.xyxy} lies outside the picture of {width} x {height} pixels.")
    return left, top, min(right, float(width)), min(bottom, float(height))
