"""
Masks that wait for contour tracing, within a bound of bytes.

The masks of a prompt in one view take up to 66 MB until they are traced, and a request may have
hundreds of such work items. So side threads trace each item's masks while the model goes on; where
there is no room for the next items' masks, the model's thread traces too before it takes them.
"""

from collections.abc import Callable
from concurrent.futures import Future
from threading import Condition

import structlog
import torch

from pipeline.errors import OutOfMemory, PipelineError, Withdrawn
from pipeline.model import postprocess
from pipeline.model.device import one_core, translated
from pipeline.model.postprocess import Kept, TracedView
from s3_sam3.contracts import limits


log = structlog.get_logger(__name__)


class ContourTrace:
    """
    The masks of one work item until they are traced; the candidates afterwards.

    The first thread that calls it does the tracing: a side thread, the model's thread for room, or
    the one that wants the result. A thread that traces waits for no other, so all who wait for a
    result get it.
    """

    def __init__(self, queue: "ContourQueue", work: Callable[[Kept], TracedView]) -> None:
        """Do *work* when called; it may raise."""
        self._queue = queue
        self._work = work
        self._end: Future[TracedView] = Future()

    def __call__(self) -> None:
        """Trace, unless a thread has begun; `result` raises what goes wrong."""
        kept = self._queue.take(self)
        if kept is None:
            return
        size = kept.nbytes
        try:
            with translated(), torch.inference_mode(), one_core():
                self._end.set_result(self._work(kept))
        except Exception as error:  # noqa: BLE001 - raised again by `result`
            self._end.set_exception(_bare(error))
        finally:
            del kept
            self._queue.done(size)

    def result(self) -> TracedView:
        """
        Trace here, or wait for the thread that has begun.

        Raises:
            PipelineError: what went wrong.

        """
        self()
        return self._end.result()


class ContourQueue:
    """Bytes of masks that are found and not traced yet, on the GPU or off it."""

    def __init__(self, most_bytes: int) -> None:
        """Hold *most_bytes* at once; one work item always fits."""
        self._most = most_bytes
        self._bytes = 0
        self._item_bytes = 0
        self._waiting: dict[ContourTrace, Kept] = {}
        self._changed = Condition()

    @property
    def bytes(self) -> int:
        """Bytes of masks that wait or are being traced."""
        return self._bytes

    def expect(self, masks: torch.Tensor) -> None:
        """Learn from one row's *masks*, (queries, cells, cells), how much an item may leave."""
        self._item_bytes = min(len(masks), limits.MAX_INSTANCES) * masks[0].numel() * 4  # float32

    def add(self, kept: Kept, work: Callable[[Kept], TracedView]) -> ContourTrace:
        """Hold *kept* until *work* has traced it."""
        trace = ContourTrace(self, work)
        with self._changed:
            self._waiting[trace] = kept
            self._bytes += kept.nbytes
        return trace

    def take(self, trace: ContourTrace) -> Kept | None:
        """Give the masks to the first thread that asks, None to others."""
        with self._changed:
            return self._waiting.pop(trace, None)

    def done(self, size: int) -> None:
        """Note that masks of *size* bytes are gone."""
        with self._changed:
            self._bytes -= size
            self._changed.notify_all()

    def rows(self, most: int) -> int:
        """How many work items, up to *most*, may leave their masks here at once."""
        return max(1, min(most, self._most // self._item_bytes)) if self._item_bytes else most

    def clear(self, rows: int) -> None:
        """Return when the masks of *rows* work items fit: trace, the oldest first, or wait."""
        need = min(rows * self._item_bytes, self._most)
        while True:
            with self._changed:
                if self._bytes + need <= self._most:
                    return
                oldest = next(iter(self._waiting), None)
                if oldest is None:  # other threads trace all of them, and wait for none
                    self._changed.wait()
                    continue
            oldest()

    def move_off_gpu(self) -> None:
        """Move all masks that wait to the host's memory, of open and of closed requests."""
        with self._changed:
            for trace, kept in self._waiting.items():
                self._waiting[trace] = postprocess.on_cpu(kept)


def _bare(error: Exception) -> Exception:
    """Strip an error of its traceback and causes, which keep tensors alive; log them if needed."""
    if not isinstance(error, OutOfMemory | Withdrawn):
        log.error("contour_tracing_failed", exc_info=error)
    bare = error if isinstance(error, PipelineError) else PipelineError()
    bare.__cause__ = bare.__context__ = None
    return bare.with_traceback(None)
