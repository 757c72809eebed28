"""
Claimed deliveries that wait to be sent: a line per endpoint, first come first sent.

A claim knows nothing of endpoints that are slow or ill; the lines do, so that none of them stands
in the way of the others. What a line has no place for is let go: its lease ends by itself, and
then it is claimed again, behind what has come since. That costs no attempt.
"""

import uuid
from collections import Counter, deque
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Final

from webhooks.delivery.answers import Answer
from webhooks.delivery.outbox import Delivery


AHEAD: Final = 100
"""Deliveries in hand of endpoints that keep up, so that a sender never waits for a claim."""

LONGEST_LINE: Final = 2000
"""Deliveries in hand of one endpoint."""

MOST_WAITING: Final = 10_000
"""Deliveries in hand of all endpoints; a body has some 500 bytes, at most 16 KiB."""

SLOW_SECONDS: Final = 1.0
"""An endpoint is slow while the first of its line has waited longer."""

CIRCUIT_FAILURES: Final = 5
"""After as many failures in a row the database sends nothing more there for a while."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Held:
    """A delivery in hand."""

    delivery: Delivery
    since: float
    """Just before it was claimed, by the loop's clock in seconds."""


@dataclass(slots=True)
class Line:
    """One endpoint's line."""

    waiting: deque[Held] = field(default_factory=deque)
    running: int = 0

    def is_slow(self, now: float) -> bool:
        """Whether the first has waited long."""
        return bool(self.waiting) and now - self.waiting[0].since > SLOW_SECONDS


class Lines:
    """All lines; endpoints take turns."""

    def __init__(self, *, per_endpoint: int, patience_seconds: float) -> None:
        self._per_endpoint = per_endpoint
        self._patience_seconds = patience_seconds
        self._lines: dict[uuid.UUID, Line] = {}
        self._failures: Counter[uuid.UUID] = Counter()
        self._quiet_until: dict[uuid.UUID, float] = {}
        """Endpoints that asked for time, and until when; the database holds back what it has."""
        self.let_go = 0
        """Deliveries given up to their leases, since the start."""

    @property
    def waiting(self) -> int:
        """Deliveries in hand that are not being sent."""
        return sum(len(line.waiting) for line in self._lines.values())

    def room(self, now: float) -> int:
        """How many to claim; endpoints that are slow do not use up the place of others."""
        brisk = sum(len(line.waiting) for line in self._lines.values() if not line.is_slow(now))
        return max(0, min(AHEAD - brisk, MOST_WAITING - self.waiting))

    def put(self, deliveries: Iterable[Delivery], now: float) -> None:
        """Let what was claimed at *now* join its lines."""
        for delivery in deliveries:
            line = self._lines.setdefault(delivery.endpoint_id, Line())
            if len(line.waiting) < LONGEST_LINE:
                line.waiting.append(Held(delivery=delivery, since=now))
            else:
                self.let_go += 1

    def take(self, now: float) -> Delivery | None:
        """The next to send, now running until `done`; None: all wait for their endpoints."""
        for endpoint, line in self._lines.items():
            self._drop_stale(line, now)
            if line.waiting and line.running < self._allowed(endpoint, now):
                break
        else:
            return None
        line.running += 1
        # Its next turn comes after all others'.
        self._lines[endpoint] = self._lines.pop(endpoint)
        return line.waiting.popleft().delivery

    def done(self, delivery: Delivery, answer: Answer | None, now: float) -> None:
        """Learn how it went; None: nobody knows."""
        endpoint = delivery.endpoint_id
        line = self._lines[endpoint]
        line.running -= 1
        if answer is not None:
            self._learn(endpoint, line, answer, now)
        if not (line.waiting or line.running):
            del self._lines[endpoint]

    def clear(self) -> None:
        """Let all go that is not being sent."""
        for line in self._lines.values():
            self._clear(line)

    def _learn(self, endpoint: uuid.UUID, line: Line, answer: Answer, now: float) -> None:
        if answer.delivered:
            self._failures.pop(endpoint, None)
            return
        self._failures[endpoint] += 1
        if answer.asks_for_time:
            until = now + float(answer.retry_after_seconds or 0)
            self._quiet_until[endpoint] = max(until, self._quiet_until.get(endpoint, until))
        if answer.gone or self._failures[endpoint] >= CIRCUIT_FAILURES:
            # Nothing more is to be sent there now; the database knows until when.
            self._clear(line)

    def _allowed(self, endpoint: uuid.UUID, now: float) -> int:
        if now < self._quiet_until.get(endpoint, now):
            return 0
        self._quiet_until.pop(endpoint, None)
        # An endpoint that failed gets one at a time until it takes one.
        return 1 if endpoint in self._failures else self._per_endpoint

    def _drop_stale(self, line: Line, now: float) -> None:
        """Let go what could outlive its lease if it was sent now."""
        while line.waiting and now - line.waiting[0].since > self._patience_seconds:
            line.waiting.popleft()
            self.let_go += 1

    def _clear(self, line: Line) -> None:
        self.let_go += len(line.waiting)
        line.waiting.clear()
