"""How much may be in the server at once: requests, uploaded bytes, memory for pictures."""

import asyncio
import math
from collections import deque
from collections.abc import AsyncIterator, Callable, Iterator
from concurrent.futures import Future
from contextlib import asynccontextmanager, contextmanager, suppress
from dataclasses import dataclass, field
from time import monotonic
from typing import Any, Final

from pipeline.errors import Busy
from pipeline.model.executor import cores
from s3_sam3.contracts import limits


#: How many of the last requests tell how long one takes.
_RECENT: Final = 32

#: Most seconds that a refused caller is told to wait.
_LONGEST_WAIT: Final = 60

#: Pillow keeps a pixel in four bytes, also where there are three colours.
PIXEL_BYTES: Final = 4

#: Bytes of the largest picture.
LARGEST: Final = PIXEL_BYTES * limits.MAX_IMAGE_PIXELS

#: What drawing label map and overlay takes per pixel, beside the picture: 50 megapixels took
#: 514 MiB, with over 255 instances 574.
DRAWING_BYTES: Final = 13

_GIB: Final = 2**30


@dataclass(frozen=True, slots=True, kw_only=True)
class Bounds:
    """Bounds on requests, bytes, threads and processes. Only tests change them."""

    requests: int = 64
    """Requests inside at once; the next one gets 503."""
    upload_bytes: int = _GIB // 2
    """Uploaded pictures that wait to be decoded; a request beyond that gets 503."""
    picture_bytes: int = 2 * _GIB
    """Decoded pictures; a picture beyond that waits."""
    drawing_bytes: int = _GIB
    """What drawing takes beside the pictures, DRAWING_BYTES a pixel; beyond that it waits."""
    side_threads: int = field(default_factory=cores)
    """Threads beside the model's own: resizing, contour tracing, drawing."""
    decoders: int = field(default_factory=cores)
    """Child processes that decode, one picture at a time each."""


class Admission:
    """
    Counts requests from their first byte to their last; none waits in memory to be admitted.

    A refused caller is told when to come back, by how long recent requests took. Callers that were
    refused and are not due yet count as standing before it.
    """

    def __init__(
        self, *, requests: int, upload_bytes: int, clock: Callable[[], float] = monotonic
    ) -> None:
        """Admit *requests* at once, and together *upload_bytes* of pictures not yet decoded."""
        self._requests = requests
        self._upload_bytes = upload_bytes
        self._clock = clock
        self._inside = 0
        self._bytes = 0
        self._durations: deque[float] = deque(maxlen=_RECENT)
        # When the callers that were refused are due, in order.
        self._due: deque[float] = deque()

    @property
    def inside(self) -> int:
        """Requests admitted and not yet answered."""
        return self._inside

    @contextmanager
    def admit(self, size: int) -> Iterator[Callable[[], None]]:
        """
        Admit a request of *size* bytes for the block; give a function to call once it is decoded.

        A request that comes when none is inside is admitted, however large.

        Raises:
            Busy: too many requests are inside, or too many bytes wait to be decoded.

        """
        if self._inside and not self._has_room(size):
            message = f"{self._inside} requests are in the pipeline already. Try again shortly."
            raise Busy(message, seconds=self._wait())
        came, held = self._clock(), size

        def decoded() -> None:
            """Free the bytes; a second call changes nothing."""
            nonlocal held
            self._bytes, held = self._bytes - held, 0

        self._inside += 1
        self._bytes += size
        try:
            yield decoded
        finally:
            decoded()
            self._inside -= 1
            self._durations.append(self._clock() - came)

    def _has_room(self, size: int) -> bool:
        return self._inside < self._requests and self._bytes + size <= self._upload_bytes

    def _wait(self) -> int:
        """Seconds until this caller is due."""
        now = self._clock()
        while self._due and self._due[0] <= now:
            self._due.popleft()
        # With n inside, one leaves every n-th part of an average request.
        average = sum(self._durations) / len(self._durations) if self._durations else 0.0
        seconds = average / self._inside * (len(self._due) + 1)
        self._due.append(max(now + seconds, self._due[-1] if self._due else now))
        return min(max(1, math.ceil(seconds)), _LONGEST_WAIT)


class Reservation:
    """The bytes that one picture takes of a budget."""

    def __init__(self, budget: "ByteBudget", size: int) -> None:
        """Hold *size* bytes, which the budget counts already."""
        self._budget = budget
        self._size = size
        self._work: set[Future[Any]] = set()
        self._released = False

    def resize(self, size: int) -> None:
        """Hold *size* bytes from now on, at most as many as before."""
        self._budget.free(self._size - size)
        self._size = size

    def keep_during(self, work: "Future[Any]") -> None:
        """Stay until *work* in a thread has ended, even if nobody waits for its result any more."""
        loop = asyncio.get_running_loop()

        def ended(_: object) -> None:
            """Tell the loop, from the thread that ended the work."""
            with suppress(RuntimeError):  # the loop is closed, and the budget gone with it
                loop.call_soon_threadsafe(self._ended, work)

        self._work.add(work)
        work.add_done_callback(ended)

    def _ended(self, work: "Future[Any]") -> None:
        self._work.discard(work)
        if self._released and not self._work:
            self.resize(0)

    def release(self) -> None:
        """Free the bytes, once no thread works on them."""
        self._released = True
        if not self._work:
            self.resize(0)


class ByteBudget:
    """Bytes that requests share; each waits for its share, first come first served."""

    def __init__(self, most_bytes: int) -> None:
        """Give out *most_bytes* at once; a share asked for when none is given out always fits."""
        self._most = most_bytes
        self._held = 0
        self._waiting: deque[tuple[asyncio.Future[None], int]] = deque()

    @property
    def held(self) -> int:
        """Bytes that are given out."""
        return self._held

    @asynccontextmanager
    async def reserve(self, size: int = LARGEST) -> AsyncIterator[Reservation]:
        """
        Wait until *size* bytes are free and hold them for the block.

        How large a picture is shows only when it is decoded. So reserve as for the largest and
        `resize` the reservation then.
        """
        await self._take(size)
        reservation = Reservation(self, size)
        try:
            yield reservation
        finally:
            reservation.release()

    async def _take(self, size: int) -> None:
        if not self._waiting and self._has_room(size):
            self._held += size
            return
        granted = asyncio.get_running_loop().create_future()
        self._waiting.append((granted, size))
        try:
            await granted
        except asyncio.CancelledError:
            if not granted.cancelled():  # granted in the moment in which it was given up
                self.free(size)
            raise

    def free(self, size: int) -> None:
        """Take *size* bytes back and grant what fits now."""
        self._held -= size
        while self._waiting and self._has_room(self._waiting[0][1]):
            granted, wanted = self._waiting.popleft()
            if not granted.done():
                self._held += wanted
                granted.set_result(None)

    def _has_room(self, size: int) -> bool:
        return not self._held or self._held + size <= self._most
