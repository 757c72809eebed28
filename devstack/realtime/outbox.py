"""The bounded queue of frames to one client, so that a slow one cannot delay the others."""

import asyncio
import collections
import logging
from collections.abc import Awaitable, Callable


log = logging.getLogger(__name__)

Frame = str | bytes
Send = Callable[[Frame], Awaitable[None]]

#: What may wait for one client.
MAX_FRAMES = 2000
MAX_CHARACTERS = 16 * 1024 * 1024


class Outbox:
    """Takes frames at once and sends them in order; a client that falls too far behind is cut."""

    def __init__(self, send: Send, cut: Callable[[], None]) -> None:
        """*send* writes one frame and waits while the socket is full; *cut* ends the connection."""
        self._send = send
        self._cut = cut
        self._frames: collections.deque[Frame] = collections.deque()
        self._size = 0
        self._filled = asyncio.Event()
        self._is_cut = False

    def put(self, frame: Frame) -> None:
        """Queue *frame*. Never waits, never raises."""
        if self._is_cut:
            return
        self._frames.append(frame)
        self._size += len(frame)
        self._filled.set()
        if len(self._frames) > MAX_FRAMES or self._size > MAX_CHARACTERS:
            log.warning(
                "slow client cut: %d frames, %d characters behind", len(self._frames), self._size
            )
            self._is_cut = True
            self._frames.clear()
            self._cut()

    async def run(self) -> None:
        """Send until cancelled or until the connection breaks. Raises: ConnectionError."""
        while True:
            await self._filled.wait()
            while self._frames:
                frame = self._frames.popleft()
                self._size -= len(frame)
                await self._send(frame)
            self._filled.clear()
