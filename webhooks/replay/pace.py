"""How fast, and when to stop: a rate for the run, a circuit breaker for each host."""

import asyncio


class Pace:
    """
    Hands out turns at a rate, to one who asks.

    Who is late, because the machine was busy, catches up by one turn at most.
    """

    def __init__(self, rate: float) -> None:
        """*rate*: turns per second."""
        self._gap = 1.0 / rate
        self._next: float | None = None

    async def turn(self) -> None:
        """Wait until the next turn is due. It stays due until it is spent."""
        if self._next is not None:
            await asyncio.sleep(self._next - asyncio.get_running_loop().time())

    def spend(self) -> None:
        """Use the turn."""
        now = asyncio.get_running_loop().time()
        due = now if self._next is None else max(self._next, now - self._gap)
        self._next = due + self._gap


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
