"""
What the server needs of a model, in three steps that run on different threads.

`prepare` (any thread: tokens, resizing) → `find` (the model's one thread, batch by batch over all
requests that wait) → `trace` (any thread: masks to run lengths). So the GPU never waits for a
resize or for run lengths, and requests share its batches.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future
from contextlib import contextmanager
from dataclasses import dataclass, field
from threading import Event
from time import perf_counter
from typing import Any, Protocol

from PIL import Image

from pipeline.errors import PipelineError, Withdrawn
from s3_sam3.contracts.manifest import ModelInfo, PromptResult
from s3_sam3.contracts.prompts import Prompt, SegmentOptions


@dataclass(slots=True, kw_only=True)
class RequestContext:
    """
    One request on its way through the threads.

    The server's loop abandons it when the caller has gone; the model's thread checks between
    batches, since nothing can stop a pass that runs.
    """

    scope: str = ""
    """Whose picture it is; features of a picture are only shared within its scope."""
    frugal: bool = False
    """Use as little memory as possible, and be slower."""
    computed: int = 0
    """Prompts that are done; written by the model's thread, read by any."""
    _gone: Event = field(default_factory=Event)

    def abandon(self) -> None:
        """Note that nobody waits for the answer. Harmless after the end."""
        self._gone.set()

    def check(self) -> None:
        """
        Raise if nobody waits for the answer any more.

        Raises:
            Withdrawn: the caller has gone.

        """
        if self._gone.is_set():
            raise Withdrawn

    def advance(self, prompts: int) -> None:
        """Count *prompts* more as done."""
        self.computed += prompts


class ModelRequest:
    """
    A request that `SegmentationModel.prepare` has brought into the model's form.

    Each model adds what it needs. The model's thread works on many requests at once and closes
    each as soon as it is done; no other thread writes to one.
    """

    def __init__(self, options: SegmentOptions, context: RequestContext) -> None:
        self.options = options
        self.context = context
        self.model_ms = 0.0
        #: Runs work in a side thread while the model goes on, where there is one.
        self.beside: Callable[[Callable[[], None]], None] = _left_undone
        self._began: float | None = None
        self._answer: Future[None] = Future()
        # Running futures cannot be cancelled: a coroutine that waits may be, but only the model's
        # thread may close the request.
        self._answer.set_running_or_notify_cancel()

    @property
    def answer(self) -> Future[None]:
        """Done when the request is closed; raises what it was closed with."""
        return self._answer

    @property
    def closed(self) -> bool:
        """Whether the model is done with it."""
        return self._answer.done()

    def begin(self) -> None:
        """Start the clock of `model_ms`; later calls change nothing."""
        self._began = self._began or perf_counter()

    def close(self, error: BaseException | None = None) -> None:
        """End it, well or with *error*; a closed request stays as it is."""
        if self.closed:
            return
        if self._began is not None:
            self.model_ms = (perf_counter() - self._began) * 1000
        if error is None:
            self._answer.set_result(None)
        else:
            self._answer.set_exception(error)

    def wanted(self) -> bool:
        """Whether somebody still waits for it; if nobody does, close it."""
        if not self.closed:
            try:
                self.context.check()
            except PipelineError as error:
                self.close(error)
        return not self.closed

    @contextmanager
    def blamed(self) -> Iterator[None]:
        """Close the request with any error raised inside."""
        try:
            yield
        except Exception as error:  # noqa: BLE001 - raised again by `answer`
            self.close(error)


def _left_undone(_work: Callable[[], None]) -> None:
    """Without side threads the work is done by the one that needs its result."""


class SegmentationModel(Protocol):
    """Finds what prompts describe; it only takes the requests that its own `prepare` made."""

    @property
    def info(self) -> ModelInfo:
        """Name, revision, precision and device."""
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
        Check the prompts and give a `ModelRequest` with them and the picture. Any thread.

        Raises:
            Refused: prompt_empty, prompt_too_long, or prompt_invalid for a box or a region outside
                the picture.

        """
        ...

    def find(self, requests: Sequence[Any]) -> None:
        """
        Run one batch, in the model's one thread, for the first request and as many others as fit.

        All are open and in the order they came. A request is closed as soon as it is done or has
        failed: with OutOfMemory (even in smaller steps), ModelFailed, or ModelDied (no later call
        can succeed in this process). The caller repeats this until the first one is closed.
        """
        ...

    def trace(self, request: Any) -> tuple[PromptResult, ...]:
        """
        Turn what was found into masks at the picture's size, one result per prompt. Any thread.

        Raises:
            Withdrawn: the caller has gone.

        """
        ...


def find(model: SegmentationModel, request: Any) -> None:
    """Run one request alone, in this thread; raise what closed it."""
    while request.wanted():
        model.find([request])
    request.answer.result()


def segment(
    model: SegmentationModel,
    picture: Image.Image,
    prompts: tuple[Prompt, ...],
    options: SegmentOptions | None = None,
) -> tuple[PromptResult, ...]:
    """Take all three steps in this thread."""
    request = model.prepare(picture, prompts, options or SegmentOptions(), RequestContext())
    find(model, request)
    return model.trace(request)
