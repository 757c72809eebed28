"""
Masks between the model and their outlines, within a bound of bytes.

What a prompt finds in one view takes up to 66 MB until it is outlined, and a request may have
hundreds of such rows. So each row is outlined as soon as it is found, by side threads while the
model goes on; and where there is no room for the masks of its next rows, the model's thread
outlines as well before it takes them on.
"""

from collections.abc import Callable
from concurrent.futures import Future
from threading import Condition

import structlog
import torch

from pipeline.errors import OutOfMemory, PipelineError, Withdrawn
from pipeline.model import postprocess
from pipeline.model.batching import translated
from pipeline.model.device import one_core
from pipeline.model.postprocess import Kept, TracedView
from s3_sam3.contracts import limits


log = structlog.get_logger(__name__)


class ContourTrace:
    """
    One row's masks until they are outlined, its candidates from then on.

    Whoever calls it first outlines, in any thread: a side thread, the model's for room, or the one
    that asks for the result. Nobody who outlines waits for anybody, so whoever waits is served.
    """

    def __init__(self, masks: "ContourQueue", work: Callable[[Kept], TracedView]) -> None:
        """Do *work* when it is called; it may raise."""
        self._masks = masks
        self._work = work
        self._end: Future[TracedView] = Future()

    def __call__(self) -> None:
        """Outline, unless somebody has begun; what goes wrong is raised by `result`."""
        kept = self._masks.take(self)
        if kept is None:
            return
        size = kept.nbytes
        try:
            with translated(), torch.inference_mode(), one_core():
                self._end.set_result(self._work(kept))
        except Exception as error:  # noqa: BLE001 - whoever wants the result raises it
            self._end.set_exception(_bare(error))
        finally:
            del kept
            self._masks.done(size)

    def result(self) -> TracedView:
        """
        Outline here, or wait for who has begun.

        Raises:
            PipelineError: what went wrong.

        """
        self()
        return self._end.result()


class ContourQueue:
    """Bytes of masks that are found and not yet outlined, wherever they lie."""

    def __init__(self, most_bytes: int) -> None:
        """Hold *most_bytes* at once; one row always fits."""
        self._most = most_bytes
        self._bytes = 0
        self._row = 0
        self._waiting: dict[ContourTrace, Kept] = {}
        self._changed = Condition()

    @property
    def bytes(self) -> int:
        """Bytes of masks that wait, or that somebody outlines."""
        return self._bytes

    def expect(self, masks: torch.Tensor) -> None:
        """Learn from one row's *masks*, (queries, cells, cells), how much a row may leave."""
        self._row = min(len(masks), limits.MAX_INSTANCES) * masks[0].numel() * 4  # float32

    def add(self, kept: Kept, work: Callable[[Kept], TracedView]) -> ContourTrace:
        """Hold *kept* until *work* has outlined it."""
        contour_trace = ContourTrace(self, work)
        with self._changed:
            self._waiting[contour_trace] = kept
            self._bytes += kept.nbytes
        return contour_trace

    def take(self, contour_trace: ContourTrace) -> Kept | None:
        """Give the masks to whoever outlines them, once."""
        with self._changed:
            return self._waiting.pop(contour_trace, None)

    def done(self, size: int) -> None:
        """Take note that masks of *size* bytes are gone."""
        with self._changed:
            self._bytes -= size
            self._changed.notify_all()

    def rows(self, most: int) -> int:
        """How many rows, *most* at the most, may leave their masks here at once."""
        return max(1, min(most, self._most // self._row)) if self._row else most

    def clear(self, rows: int) -> None:
        """Return when so many rows more find room: outline, the oldest first, or wait."""
        need = min(rows * self._row, self._most)
        while True:
            with self._changed:
                if self._bytes + need <= self._most:
                    return
                oldest = next(iter(self._waiting), None)
                if oldest is None:  # others are at all of them, and wait for nobody
                    self._changed.wait()
                    continue
            oldest()

    def lighten(self) -> None:
        """Move off the GPU what waits, whichever request it belongs to, open or closed."""
        with self._changed:
            for contour_trace, kept in self._waiting.items():
                self._waiting[contour_trace] = postprocess.on_cpu(kept)


def _bare(error: Exception) -> Exception:
    """Take off an error what keeps tensors alive; say in the log what only that can tell."""
    if not isinstance(error, OutOfMemory | Withdrawn):
        log.error("outline_failed", exc_info=error)
    bare = error if isinstance(error, PipelineError) else PipelineError()
    bare.__cause__ = bare.__context__ = None
    return bare.with_traceback(None)
