"""One thread runs the model for all requests that wait; side threads work beside it."""

import asyncio
import os
from collections.abc import Callable, Collection
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from typing import Any, Final, TypeVar

from pipeline.model.model_request import ModelRequest
from pipeline.model.segmentation_model import SegmentationModel


Result = TypeVar("Result")

#: Most requests that one batch may be made of; the rest wait behind them.
_TOGETHER: Final = 64


class ModelExecutor:
    """
    Runs the model in one thread, and everything around it in others.

    Requests are served in the order they came. The oldest leads: it gets on with every batch, and
    those behind it fill what room the batch has left. So nobody starves, and a request that came
    while another was under way joins the next batch.

    A cancelled coroutine abandons its context (`predict` sees to it), and the request leaves before
    the next batch.
    """

    def __init__(self, *, side_threads: int = 0) -> None:
        """Have *side_threads* beside the model's own; 0: by the processor's cores."""
        self._waiting: dict[ModelRequest, None] = {}
        self._model = ThreadPoolExecutor(1, thread_name_prefix="model")
        self._side = ThreadPoolExecutor(side_threads or cores(), thread_name_prefix="side")

    @property
    def waiting(self) -> Collection[ModelRequest]:
        """Requests that are not closed yet, the oldest first; now and then one that just was."""
        return self._waiting

    async def find(self, segmenter: SegmentationModel, request: ModelRequest) -> None:
        """Have *request* served, behind those that came before; raise what closes it."""
        request.beside = self._beside
        self._waiting[request] = None
        self._model.submit(self._serve, segmenter, request)
        await asyncio.wrap_future(request.answer)

    def _serve(self, segmenter: SegmentationModel, request: ModelRequest) -> None:
        """Get on with all that wait until *request*, the oldest of them, is closed."""
        with request.blamed():
            while not request.closed:
                together = self._in_line()
                if together:
                    segmenter.find(together)
        self._waiting.pop(request, None)

    def _in_line(self) -> list[ModelRequest]:
        """Give the requests that somebody waits for, oldest first; let the others go."""
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
        """Run *work* in another thread; tell *during* what it is that runs."""
        running = self._side.submit(work)
        during(running)
        return await asyncio.wrap_future(running)

    def _beside(self, work: Callable[[], None]) -> None:
        """Have *work* done in another thread; at the end of all, nowhere."""
        with suppress(RuntimeError):  # the side threads are closed, and nobody waits any more
            self._side.submit(work)

    def close(self) -> None:
        """Withdraw what waits; what runs is left to end."""
        for request in list(self._waiting):
            request.context.abandon()
        self._model.shutdown(wait=False, cancel_futures=True)
        self._side.shutdown(wait=False, cancel_futures=True)


def cores() -> int:
    """One thread for each core but the model's; two at least, and no more than eight."""
    return min(8, max(2, len(os.sched_getaffinity(0)) - 1))
