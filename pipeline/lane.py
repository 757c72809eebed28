"""The one lane in front of the model: one thread, a bounded queue, work that can be withdrawn."""

import asyncio
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import Final, TypeVar

from pipeline.errors import Busy


Result = TypeVar("Result")

#: Threads that decode, resize, outline and draw beside the model's own.
_SIDE_THREADS: Final = 2


class Lane:
    """
    Runs one thing at a time in the model's thread, and everything around it in others.

    A coroutine cancelled while its work still waits withdraws it. Work that has started runs on
    (its `Errand` ends it at the next prompt), and its answer is dropped.
    """

    def __init__(self, *, waiting: int) -> None:
        """Admit one request and *waiting* more behind it."""
        self._places = waiting + 1
        self._inside = 0
        self._model = ThreadPoolExecutor(1, thread_name_prefix="model")
        self._side = ThreadPoolExecutor(_SIDE_THREADS, thread_name_prefix="side")

    @property
    def inside(self) -> int:
        """Requests admitted and not yet answered."""
        return self._inside

    @contextmanager
    def place(self) -> Iterator[None]:
        """
        Hold a place for one request, from its first byte to its last.

        Raises:
            Busy: all places are taken.

        """
        if self._inside >= self._places:
            message = f"{self._inside} requests are in the pipeline already. Try again shortly."
            raise Busy(message)
        self._inside += 1
        try:
            yield
        finally:
            self._inside -= 1

    async def in_model(self, work: Callable[[], Result]) -> Result:
        """Run *work* in the model's thread, after what came before."""
        return await asyncio.wrap_future(self._model.submit(work))

    async def beside(self, work: Callable[[], Result]) -> Result:
        """Run *work* in another thread."""
        return await asyncio.wrap_future(self._side.submit(work))

    def close(self) -> None:
        """Withdraw what waits; what runs is left to end."""
        self._model.shutdown(wait=False, cancel_futures=True)
        self._side.shutdown(wait=False, cancel_futures=True)
