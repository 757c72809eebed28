"""One request in front of the model: what is asked, who waits for it, and how it ended."""

from collections.abc import Callable, Iterator
from concurrent.futures import Future
from contextlib import contextmanager
from time import perf_counter

from pipeline.errors import PipelineError
from pipeline.model.request_context import RequestContext
from s3_sam3.contracts.prompts import SegmentOptions


class ModelRequest:
    """
    A request that `SegmentationModel.prepare` has brought into its model's form.

    Each segmenter adds what it needs. The model's thread works on many requests at once and closes
    each as soon as it is done; nobody else writes to one.
    """

    def __init__(self, options: SegmentOptions, context: RequestContext) -> None:
        """Be open."""
        self.options = options
        self.context = context
        self.model_ms = 0.0
        #: Has work done in a side thread while the model goes on, where there is one.
        self.beside: Callable[[Callable[[], None]], None] = _left_undone
        self._began: float | None = None
        self._answer: Future[None] = Future()
        # A waiting coroutine that is cancelled must not cancel this: only the model's thread may.
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
        """Take note that the model has started with it; later calls change nothing."""
        self._began = self._began or perf_counter()

    def close(self, error: BaseException | None = None) -> None:
        """End it, well or with *error*; what is closed stays as it is."""
        if self.closed:
            return
        if self._began is not None:
            self.model_ms = (perf_counter() - self._began) * 1000
        if error is None:
            self._answer.set_result(None)
        else:
            self._answer.set_exception(error)

    def wanted(self) -> bool:
        """Say whether somebody still waits for it in time; else close it."""
        if not self.closed:
            try:
                self.context.check()
            except PipelineError as error:
                self.close(error)
        return not self.closed

    @contextmanager
    def blamed(self) -> Iterator[None]:
        """Close the request with whatever goes wrong inside."""
        try:
            yield
        except Exception as error:  # noqa: BLE001 - whoever waits for the answer raises it
            self.close(error)


def _left_undone(_work: Callable[[], None]) -> None:
    """Have no side thread: whoever wants the result does the work."""
