"""
Claimed deliveries that wait to be sent: a queue per endpoint, first come, first sent.

A claim does not know which endpoints are slow or failing; the queues do, so that no endpoint holds
up another. What a queue has no room for is let go: its lease ends, and then it is claimed again,
behind what has come since. That costs no attempt.
"""

import uuid
from collections import Counter, deque
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Final

from webhooks.delivery.outbox import Answer, Delivery


AHEAD: Final = 100
"""Claimed deliveries of endpoints that keep up, so that a sender never waits for a claim."""

LONGEST_QUEUE: Final = 2000
"""Claimed deliveries of one endpoint."""

MOST_WAITING: Final = 10_000
"""Claimed deliveries of all endpoints; a body has some 500 bytes, at most 16 KiB."""

SLOW_SECONDS: Final = 1.0
"""An endpoint is slow while the first of its queue has waited longer."""

CIRCUIT_FAILURES: Final = 5
"""After as many failures in a row the database sends nothing more there for a while."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Held:
    delivery: Delivery
    since: float
    """Just before it was claimed, by the loop's clock in seconds."""


@dataclass(slots=True)
class Queue:
    waiting: deque[Held] = field(default_factory=deque)
    running: int = 0

    def is_slow(self, now: float) -> bool:
        return bool(self.waiting) and now - self.waiting[0].since > SLOW_SECONDS


class EndpointQueues:
    """All queues; endpoints take turns."""

    def __init__(self, *, per_endpoint: int, patience_seconds: float) -> None:
        self._per_endpoint = per_endpoint
        self._patience_seconds = patience_seconds
        self._queues: dict[uuid.UUID, Queue] = {}
        self._failures: Counter[uuid.UUID] = Counter()
        self._quiet_until: dict[uuid.UUID, float] = {}
        """Endpoints that asked for time; the database holds back what is not claimed yet."""
        self.let_go = 0
        """Deliveries given up to their leases, since the start."""

    @property
    def waiting(self) -> int:
        return sum(len(queue.waiting) for queue in self._queues.values())

    def room(self, now: float) -> int:
        """How many to claim; slow endpoints do not use up the room of others."""
        fast = sum(len(queue.waiting) for queue in self._queues.values() if not queue.is_slow(now))
        return max(0, min(AHEAD - fast, MOST_WAITING - self.waiting))

    def put(self, deliveries: Iterable[Delivery], now: float) -> None:
        """Queue what was claimed at *now*."""
        for delivery in deliveries:
            queue = self._queues.setdefault(delivery.endpoint_id, Queue())
            if len(queue.waiting) < LONGEST_QUEUE:
                queue.waiting.append(Held(delivery=delivery, since=now))
            else:
                self.let_go += 1

    def take(self, now: float) -> Delivery | None:
        """The next to send, which counts as running until `done`; None: none may be sent now."""
        for endpoint, queue in self._queues.items():
            self._drop_stale(queue, now)
            if queue.waiting and queue.running < self._allowed(endpoint, now):
                break
        else:
            return None
        queue.running += 1
        # To the end: its next turn comes after all others'.
        self._queues[endpoint] = self._queues.pop(endpoint)
        return queue.waiting.popleft().delivery

    def done(self, delivery: Delivery, answer: Answer | None, now: float) -> None:
        """Learn how it went; None: unknown."""
        endpoint = delivery.endpoint_id
        queue = self._queues[endpoint]
        queue.running -= 1
        if answer is not None:
            self._learn(endpoint, queue, answer, now)
        if not (queue.waiting or queue.running):
            del self._queues[endpoint]

    def clear(self) -> None:
        """Let go of everything that is not being sent."""
        for queue in self._queues.values():
            self._clear(queue)

    def _learn(self, endpoint: uuid.UUID, queue: Queue, answer: Answer, now: float) -> None:
        if answer.delivered:
            self._failures.pop(endpoint, None)
            return
        self._failures[endpoint] += 1
        if answer.asks_for_time:
            until = now + float(answer.retry_after_seconds or 0)
            self._quiet_until[endpoint] = max(until, self._quiet_until.get(endpoint, until))
        if answer.gone or self._failures[endpoint] >= CIRCUIT_FAILURES:
            # Nothing more may be sent there now; the database knows until when.
            self._clear(queue)

    def _allowed(self, endpoint: uuid.UUID, now: float) -> int:
        if now < self._quiet_until.get(endpoint, now):
            return 0
        self._quiet_until.pop(endpoint, None)
        # An endpoint that failed gets one at a time until it accepts one.
        return 1 if endpoint in self._failures else self._per_endpoint

    def _drop_stale(self, queue: Queue, now: float) -> None:
        """Let go of what could outlive its lease if it was sent now."""
        while queue.waiting and now - queue.waiting[0].since > self._patience_seconds:
            queue.waiting.popleft()
            self.let_go += 1

    def _clear(self, queue: Queue) -> None:
        self.let_go += len(queue.waiting)
        queue.waiting.clear()
