"""One thread runs the model for all requests that wait; side threads do the rest of the work."""

import asyncio
import os
from collections.abc import Callable, Collection
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from typing import Any, Final, TypeVar

from pipeline.model.segmentation_model import ModelRequest, SegmentationModel


Result = TypeVar("Result")

#: Most requests in one batch; the others wait.
_TOGETHER: Final = 64


class ModelExecutor:
    """
    The model's one thread, and the threads beside it.

    Requests are served in the order they came. Every batch works on the oldest one, and those
    behind it fill the room that is left. So none starves, and a request that comes during a batch
    joins the next one.

    A cancelled coroutine abandons its context (`Predictor.predict` does it), and the request
    leaves before the next batch.
    """

    def __init__(self, *, side_threads: int = 0) -> None:
        """Start *side_threads* beside the model's own; 0: as many as `cores`."""
        self._waiting: dict[ModelRequest, None] = {}
        self._model = ThreadPoolExecutor(1, thread_name_prefix="model")
        self._side = ThreadPoolExecutor(side_threads or cores(), thread_name_prefix="side")

    @property
    def waiting(self) -> Collection[ModelRequest]:
        """Requests that are not closed yet, the oldest first; now and then one that just was."""
        return self._waiting

    async def find(self, model: SegmentationModel, request: ModelRequest) -> None:
        """Wait until *model* is done with *request*; raise what closed it."""
        request.beside = self._beside
        self._waiting[request] = None
        self._model.submit(self._serve, model, request)
        await asyncio.wrap_future(request.answer)

    def _serve(self, model: SegmentationModel, request: ModelRequest) -> None:
        """Run batches of all that wait until *request*, the oldest of them, is closed."""
        with request.blamed():
            while not request.closed:
                together = self._next_requests()
                if together:
                    model.find(together)
        self._waiting.pop(request, None)

    def _next_requests(self) -> list[ModelRequest]:
        """Drop the requests that nobody waits for; give the others, oldest first."""
        for request in list(self._waiting):
            if not request.wanted():
                del self._waiting[request]
        return list(self._waiting)[:_TOGETHER]

    async def in_model(self, work: Callable[[], Result]) -> Result:
        """Run *work* in the model's thread, after what came before."""
        return await asyncio.wrap_future(self._model.submit(work))

    async def beside(
        self, work: Callable[[], Result], during: Callable[[Future[Any]], None] = lambda _: None
    ) -> Result:
        """Run *work* in a side thread; pass its future to *during* at once."""
        running = self._side.submit(work)
        during(running)
        return await asyncio.wrap_future(running)

    def _beside(self, work: Callable[[], None]) -> None:
        with suppress(RuntimeError):  # the side threads are closed, and nobody waits any more
            self._side.submit(work)

    def close(self) -> None:
        """Abandon what waits; what runs is left to end."""
        for request in list(self._waiting):
            request.context.abandon()
        self._model.shutdown(wait=False, cancel_futures=True)
        self._side.shutdown(wait=False, cancel_futures=True)


def cores() -> int:
    """One thread for each core but the model's; two at least, and no more than eight."""
    return min(8, max(2, len(os.sched_getaffinity(0)) - 1))
