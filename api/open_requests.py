"""
How many requests are being answered, and a way to wait until none is.

aiohttp's own shutdown waits for handlers too, but from its first moment on it throws away what
their connections still receive; an upload under way could then only run into the time limit. So
the process waits here first.
"""

import asyncio
from types import TracebackType


class OpenRequests:
    """A counter that can be waited on; entered and left with each request."""

    def __init__(self) -> None:
        self._count = 0
        self._none = asyncio.Event()
        self._none.set()

    def __enter__(self) -> None:
        """One more."""
        self._count += 1
        self._none.clear()

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """One less."""
        self._count -= 1
        if self._count == 0:
            self._none.set()

    def __len__(self) -> int:
        """How many there are now."""
        return self._count

    async def ended(self, seconds: float) -> bool:
        """Wait until there is none, at most *seconds*; whether that came about."""
        try:
            async with asyncio.timeout(seconds):
                return await self._none.wait()
        except TimeoutError:
            return False
