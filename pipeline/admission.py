"""Who may come in: a bounded number of requests and of bytes, and when to come back."""

import asyncio
import math
from collections import deque
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from time import monotonic
from typing import Final

from contracts import limits
from pipeline.errors import Busy


#: Requests whose times say how fast places become free.
_RECENT: Final = 32

#: Seconds of the longest advice; who hears it has many before him, or the model hangs.
_LONGEST: Final = 60

#: Pillow keeps a pixel in four bytes, also where there are three colours.
PIXEL_BYTES: Final = 4

#: Bytes of the largest picture.
_LARGEST: Final = PIXEL_BYTES * limits.MAX_IMAGE_PIXELS


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


class Room:
    """
    Bytes of decoded pictures at once, shared by those who were admitted, first come first served.

    How large a picture is shows only when it is decoded; until then it counts as the largest.
    """

    def __init__(self, most_bytes: int) -> None:
        """Hold *most_bytes* at once; one picture always fits."""
        self._most = most_bytes
        self._held = 0
        self._waiting: deque[asyncio.Future[None]] = deque()

    @property
    def held(self) -> int:
        """Bytes of pictures that are decoded or may be."""
        return self._held

    @asynccontextmanager
    async def entered(self) -> AsyncIterator[Callable[[int], None]]:
        """Wait for room; call what it gives with the picture's bytes, 0 when it is dropped."""
        await self._turn()
        taken = _LARGEST

        def hold(size: int) -> None:
            """Hold so many bytes from now on."""
            nonlocal taken
            self._give_back(taken - size)
            taken = size

        try:
            yield hold
        finally:
            hold(0)

    async def _turn(self) -> None:
        """Return when the largest picture is counted as held."""
        if not self._waiting and self._has_room():
            self._held += _LARGEST
            return
        turn = asyncio.get_running_loop().create_future()
        self._waiting.append(turn)
        try:
            await turn
        except asyncio.CancelledError:
            if not turn.cancelled():  # it was given in the moment it was given up
                self._give_back(_LARGEST)
            raise

    def _give_back(self, size: int) -> None:
        """Hold so much less, and let in who fits now."""
        self._held -= size
        while self._waiting and self._has_room():
            turn = self._waiting.popleft()
            if not turn.done():
                self._held += _LARGEST
                turn.set_result(None)

    def _has_room(self) -> bool:
        """Whether one more of the largest fits."""
        return not self._held or self._held + _LARGEST <= self._most
