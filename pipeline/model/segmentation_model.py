"""
What the server needs of a model, in the three steps that run on different threads.

`prepare` (any thread: tokens, resizing) → `find` (the model's one thread, batch by batch over all
requests that wait) → `trace` (any thread: masks to run lengths). So the GPU never waits for a
resize or for run lengths, and requests share its batches.
"""

from collections.abc import Mapping, Sequence
from typing import Any, Protocol

from PIL import Image

from pipeline.errors import Refused
from pipeline.model.request_context import RequestContext
from pipeline.model.views import View
from s3_sam3.contracts import limits
from s3_sam3.contracts.errors import ErrorCode
from s3_sam3.contracts.manifest import ModelInfo, PromptResult
from s3_sam3.contracts.prompts import Box, Prompt, SegmentOptions


class SegmentationModel(Protocol):
    """Finds and outlines what the prompts describe; the requests that it hands out are its own."""

    @property
    def info(self) -> ModelInfo:
        """Which model this is."""
        ...

    @property
    def figures(self) -> Mapping[str, float]:
        """Counts and sizes for `/metrics`, by name; any thread."""
        ...

    def prepare(
        self,
        picture: Image.Image,
        prompts: tuple[Prompt, ...],
        options: SegmentOptions,
        context: RequestContext,
    ) -> Any:
        """
        Check the prompts and bring them and the picture into the model's form: an `ModelRequest`.

        Any thread.

        Raises:
            Refused: prompt_empty, prompt_too_long, or prompt_invalid for a box or a region outside
                the picture.

        """
        ...

    def find(self, requests: Sequence[Any]) -> None:
        """
        Get on with *requests* by one batch; the first of them at least, in the model's one thread.

        All are open, in the order they came, and each is closed as soon as it is done or has
        failed. Asked again until the first one is closed. What went wrong closes the requests that
        it belongs to, with OutOfMemory (even in smaller steps), ModelFailed, or ModelDied (no
        later call can succeed in this process).
        """
        ...

    def trace(self, request: Any) -> tuple[PromptResult, ...]:
        """
        Outline what was found at the picture's own size, one result per prompt. Any thread.

        Raises:
            Withdrawn: the caller has gone.
            TooLate: the deadline has passed.

        """
        ...


def find(segmenter: SegmentationModel, request: Any) -> None:
    """Take one request through the model, alone, in the caller's thread; raise what closed it."""
    while request.wanted():
        segmenter.find([request])
    request.answer.result()


def segment(
    segmenter: SegmentationModel,
    picture: Image.Image,
    prompts: tuple[Prompt, ...],
    options: SegmentOptions | None = None,
) -> tuple[PromptResult, ...]:
    """Do all three steps in the caller's thread: for tests, benchmarks and training."""
    request = segmenter.prepare(picture, prompts, options or SegmentOptions(), RequestContext())
    find(segmenter, request)
    return segmenter.trace(request)


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


def clip_box(box: Box, view: View) -> tuple[float, float, float, float]:
    """
    Cut a box to what is looked at: xyxy in pixels of the upright original.

    Raises:
        Refused: prompt_invalid, when nothing of it lies inside.

    """
    left, top, right, bottom = box.xyxy
    cut = (
        max(left, float(view.left)),
        max(top, float(view.top)),
        min(right, float(view.right)),
        min(bottom, float(view.bottom)),
    )
    if cut[0] >= cut[2] or cut[1] >= cut[3]:
        raise Refused(
            f"The box {box.xyxy} lies outside of what is looked at: {view}.",
            code=ErrorCode.PROMPT_INVALID,
        )
    return cut
