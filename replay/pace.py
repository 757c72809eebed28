"""How fast, and when to stop: a rate for the run, a pause and a circuit breaker for each host."""

import asyncio


class Pace:
    """Hands out turns at a rate, and holds back a host that asked for it."""

    def __init__(self, rate: float) -> None:
        """*rate*: turns per second."""
        self._gap = 1.0 / rate
        self._next = 0.0
        self._held: dict[str, float] = {}

    async def turn(self, host: str) -> None:
        """Wait until *host* may be sent to."""
        clock = asyncio.get_running_loop().time
        at = max(self._next, clock())
        self._next = at + self._gap
        await asyncio.sleep(at - clock())
        # Held back again while it waits: rare, and the breaker ends it.
        await asyncio.sleep(max(0.0, self._held.get(host, 0.0) - clock()))

    def hold(self, host: str, seconds: float) -> None:
        """Send nothing to *host* for so long."""
        until = asyncio.get_running_loop().time() + seconds
        self._held[host] = max(until, self._held.get(host, 0.0))


class Breaker:
    """Gives a host up after so many failures in a row; 0: never."""

    def __init__(self, failures: int) -> None:
        self._most = failures
        self._in_a_row: dict[str, int] = {}

    def note(self, host: str, *, good: bool) -> None:
        """Count an attempt."""
        if not self.open(host):
            self._in_a_row[host] = 0 if good else self._in_a_row.get(host, 0) + 1

    def open(self, host: str) -> bool:
        """Whether nothing more is sent there."""
        return 0 < self._most <= self._in_a_row.get(host, 0)
