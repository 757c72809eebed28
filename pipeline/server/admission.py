"""Who may come in: a bounded number of requests and of bytes, and when to come back."""

import asyncio
import math
from collections import deque
from collections.abc import AsyncIterator, Callable, Iterator
from concurrent.futures import Future
from contextlib import asynccontextmanager, contextmanager, suppress
from time import monotonic
from typing import Any, Final

from pipeline.errors import Busy
from s3_sam3.contracts import limits


#: Requests whose times say how fast places become free.
_RECENT: Final = 32

#: Seconds of the longest advice; who hears it has many before him, or the model hangs.
_LONGEST: Final = 60

#: Pillow keeps a pixel in four bytes, also where there are three colours.
PIXEL_BYTES: Final = 4

#: Bytes of the largest picture.
LARGEST: Final = PIXEL_BYTES * limits.MAX_IMAGE_PIXELS

#: What drawing label map and overlay takes beside the picture, for each pixel of it: 50 megapixels
#: took 514 MiB, with over 255 instances 574.
DRAWING_BYTES: Final = 13


class Admission:
    """
    Places for requests, from their first byte to their last; not one more waits in memory.

    Who is refused is told when a place will be free for him, as far as recent requests tell: a
    ticket behind those who were refused before and have not come back yet.
    """

    def __init__(
        self, *, places: int, upload_bytes: int, clock: Callable[[], float] = monotonic
    ) -> None:
        """Admit *places* requests, and together *upload_bytes* of pictures not yet decoded."""
        self._places = places
        self._upload_bytes = upload_bytes
        self._clock = clock
        self._inside = 0
        self._bytes = 0
        self._took: deque[float] = deque(maxlen=_RECENT)
        self._tickets: deque[float] = deque()

    @property
    def inside(self) -> int:
        """Requests admitted and not yet answered."""
        return self._inside

    @contextmanager
    def place(self, size: int) -> Iterator[Callable[[], None]]:
        """
        Hold a place for a request of *size* bytes; call what it gives when they are decoded.

        Whoever comes when nobody is inside is admitted, however large.

        Raises:
            Busy: all places are taken, or too many bytes wait to be decoded.

        """
        if self._inside and not self._has_room(size):
            message = f"{self._inside} requests are in the pipeline already. Try again shortly."
            raise Busy(message, seconds=self._ticket())
        came, held = self._clock(), size

        def decoded() -> None:
            """Give the bytes back; again: nothing."""
            nonlocal held
            self._bytes, held = self._bytes - held, 0

        self._inside += 1
        self._bytes += size
        try:
            yield decoded
        finally:
            decoded()
            self._inside -= 1
            self._took.append(self._clock() - came)

    def _has_room(self, size: int) -> bool:
        """Whether one more of *size* bytes fits."""
        return self._inside < self._places and self._bytes + size <= self._upload_bytes

    def _ticket(self) -> int:
        """Seconds after which a place should be free, behind those who hold tickets already."""
        now = self._clock()
        while self._tickets and self._tickets[0] <= now:
            self._tickets.popleft()
        # Requests stay so long on average; so one in so many leaves in each such part of it.
        between = sum(self._took) / len(self._took) / self._inside if self._took else 0.0
        seconds = between * (len(self._tickets) + 1)
        self._tickets.append(max(now + seconds, self._tickets[-1] if self._tickets else now))
        return min(max(1, math.ceil(seconds)), _LONGEST)


class Hold:
    """The bytes that one picture takes of a room."""

    def __init__(self, room: "Room", size: int) -> None:
        """Have *size* bytes, which are counted already."""
        self._room = room
        self._size = size
        self._at_work: set[Future[Any]] = set()
        self._left = False

    def __call__(self, size: int) -> None:
        """Hold so many bytes from now on."""
        self._room.give_back(self._size - size)
        self._size = size

    def during(self, work: "Future[Any]") -> None:
        """Hold on until *work* in a thread has ended, also when nobody waits for it any more."""
        loop = asyncio.get_running_loop()

        def ended(_: object) -> None:
            """Say so to the loop, in the thread that ended it."""
            with suppress(RuntimeError):  # the loop is closed, and the room with it
                loop.call_soon_threadsafe(self._ended, work)

        self._at_work.add(work)
        work.add_done_callback(ended)

    def _ended(self, work: "Future[Any]") -> None:
        """Give the bytes back after the last."""
        self._at_work.discard(work)
        if self._left and not self._at_work:
            self(0)

    def leave(self) -> None:
        """Give the bytes back, when no thread works on them."""
        self._left = True
        if not self._at_work:
            self(0)


class Room:
    """Bytes at once, shared by those who were admitted, first come first served."""

    def __init__(self, most_bytes: int) -> None:
        """Hold *most_bytes* at once; whatever comes when nothing is held fits."""
        self._most = most_bytes
        self._held = 0
        self._waiting: deque[tuple[asyncio.Future[None], int]] = deque()

    @property
    def held(self) -> int:
        """Bytes that are taken or may be."""
        return self._held

    @asynccontextmanager
    async def entered(self, size: int = LARGEST) -> AsyncIterator[Hold]:
        """
        Wait for room for *size* bytes; call what it gives with fewer when so many are enough.

        How large a picture is shows only when it is decoded; until then it counts as the largest.
        """
        await self._turn(size)
        hold = Hold(self, size)
        try:
            yield hold
        finally:
            hold.leave()

    async def _turn(self, size: int) -> None:
        """Return when *size* is counted as held."""
        if not self._waiting and self._has_room(size):
            self._held += size
            return
        turn = asyncio.get_running_loop().create_future()
        self._waiting.append((turn, size))
        try:
            await turn
        except asyncio.CancelledError:
            if not turn.cancelled():  # it was given in the moment it was given up
                self.give_back(size)
            raise

    def give_back(self, size: int) -> None:
        """Hold so much less, and let in who fits now."""
        self._held -= size
        while self._waiting and self._has_room(self._waiting[0][1]):
            turn, wanted = self._waiting.popleft()
            if not turn.done():
                self._held += wanted
                turn.set_result(None)

    def _has_room(self, size: int) -> bool:
        """Whether so much more fits."""
        return not self._held or self._held + size <= self._most
