"""Sends everything once, in order and at a rate; after each answer a line in the checkpoint."""

import asyncio
import dataclasses
import uuid
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any, Final

from yarl import URL

from s3_sam3.messages import Attempt
from s3_sam3.recordings import REDACTED, Recording
from webhooks.replay.checkpoint import Checkpoint
from webhooks.replay.sending import Answer, Sender, Signer
from webhooks.replay.sends import Ending, HostQueues, Order, Outcome, Send, TaskQueue


TRIES: Final = 3
"""Tries of one send to a receiver that asks to come again later."""

LONGEST_WAIT_SECONDS: Final = 120
"""A host that asks for more is given up: resume the run later."""


class Pace:
    """
    Grants turns at a rate, to one caller.

    A caller that is late, because the machine was busy, catches up by one turn at most.
    """

    def __init__(self, rate: float) -> None:
        self._gap = 1.0 / rate
        self._next: float | None = None

    async def turn(self) -> None:
        """Wait until the next turn is due; it stays due until it is spent."""
        if self._next is not None:
            await asyncio.sleep(self._next - asyncio.get_running_loop().time())

    def spend(self) -> None:
        now = asyncio.get_running_loop().time()
        due = now if self._next is None else max(self._next, now - self._gap)
        self._next = due + self._gap


class Breaker:
    """Gives a host up after so many failures in a row; 0: never."""

    def __init__(self, failures: int) -> None:
        self._most = failures
        self._in_a_row: dict[str, int] = {}

    def note(self, host: str, *, ok: bool) -> None:
        if not self.is_open(host):
            self._in_a_row[host] = 0 if ok else self._in_a_row.get(host, 0) + 1

    def is_open(self, host: str) -> bool:
        return 0 < self._most <= self._in_a_row.get(host, 0)


@dataclass(slots=True, kw_only=True)
class Run:
    """
    Sends the messages of one run.

    One loop chooses what is next, and only when a request may be opened, a queue is ready and the
    rate grants a turn. So no send waits behind a host that is held.
    """

    signer: Signer
    sender: Sender
    pace: Pace
    breaker: Breaker
    checkpoint: Checkpoint
    recording: Recording | None
    url_of: Callable[[Send], URL]
    report: Callable[[Outcome], None]
    order: Order = Order.KEY
    concurrency: int = 8
    most: int = 10_000
    """Sends, tries after a Retry-After included."""
    given_up: dict[str, str] = field(default_factory=dict)
    """Hosts, and why."""
    _sent: int = 0
    _changed: asyncio.Event = field(default_factory=asyncio.Event)

    async def send_all(self, sends: Sequence[Send]) -> None:
        """Send them all, and report each. Raises: UsageError."""
        queues = HostQueues(sends, order=self.order, host_of=self._host_of)
        async with asyncio.TaskGroup() as group:
            while queue := await self._next(queues):
                group.create_task(self._work(queues, queue))
        self._skip(queues.give_up_all(), "--max sends of this run were made.")

    async def _next(self, queues: HostQueues) -> TaskQueue | None:
        """The queue to send from, as soon as there is one; None: nothing is left to send."""
        clock = asyncio.get_running_loop().time
        while self._sent < self.most and not (queues.empty and not queues.busy):
            self._changed.clear()
            if queues.busy >= self.concurrency or not queues.can_take(clock()):
                await self._wait(queues, clock())
                continue
            await self.pace.turn()
            # Its host may have been held or given up during that turn.
            queue = queues.take(clock())
            if queue is None:
                continue
            if not queue.sends[0].dropped:
                self.pace.spend()
                self._sent += 1
            return queue
        return None

    async def _wait(self, queues: HostQueues, now: float) -> None:
        """Wait until an answer came, or a held host may be sent to again."""
        full = queues.busy >= self.concurrency
        until = None if full else queues.next_at()
        try:
            async with asyncio.timeout(None if until is None else max(0.0, until - now)):
                await self._changed.wait()
        except TimeoutError:
            return

    async def _work(self, queues: HostQueues, queue: TaskQueue) -> None:
        try:
            await self._send_first(queues, queue)
        finally:
            self._skip(queues.give_back(queue), self.given_up.get(queue.host))
            self._changed.set()

    async def _send_first(self, queues: HostQueues, queue: TaskQueue) -> None:
        send = queue.sends[0]
        url = self.url_of(send)
        if send.dropped:
            self.checkpoint.note(send.name, send.message.id, None)
            queue.pop()
            self._report(send, send.message.id, url, Ending.DROPPED)
            return
        if send.delay_seconds and not queue.delayed:
            queue.delayed = True
            await asyncio.sleep(send.delay_seconds)
            if not queues.may_send(queue.host, asyncio.get_running_loop().time()):
                self._sent -= 1
                return
        sent_id, headers = self.signer.headers(send.message, send.copy)
        answer = await self.sender.post(url, headers, send.body)
        queue.tries += 1
        self._note(send, url, sent_id, headers, answer.attempt)
        self._hold_or_give_up(queues, queue.host, answer)
        self._settle(queue, send, sent_id, url, answer)

    def _note(
        self, send: Send, url: URL, sent_id: str, headers: list[tuple[str, str]], attempt: Attempt
    ) -> None:
        """Write a send down, whatever follows it."""
        if self.recording is not None:
            # What the operator added by --header may be a secret.
            added = self.signer.extra_headers
            shown = [(name, REDACTED if (name, v) in added else v) for name, v in headers]
            message = dataclasses.replace(
                send.message, id=sent_id, url=str(url), headers=tuple(shown), last=attempt
            )
            self.recording.request(uuid.uuid4().hex, message, path=url.raw_path_qs)
        self.checkpoint.note(send.name, sent_id, attempt)
        self.breaker.note(str(url.origin()), ok=attempt.ok)

    def _hold_or_give_up(self, queues: HostQueues, host: str, answer: Answer) -> None:
        """Hold the host back, or give it up, as its answer asks."""
        wait = answer.retry_after_seconds
        if wait is not None and wait > LONGEST_WAIT_SECONDS:
            until = datetime.now(UTC) + timedelta(seconds=wait)
            why = f"{host} asks to be left alone until {until:%Y-%m-%d %H:%M:%S} UTC."
            self._give_up(queues, host, why)
        elif wait is not None:
            queues.hold(host, asyncio.get_running_loop().time() + wait)
        if self.breaker.is_open(host):
            self._give_up(queues, host, f"{host} failed too often in a row.")

    def _settle(self, queue: TaskQueue, send: Send, sent_id: str, url: URL, answer: Answer) -> None:
        """Remove the first send of *queue*, unless it is tried again."""
        attempt = answer.attempt
        asked_to_wait = answer.retry_after_seconds is not None
        if asked_to_wait and queue.tries < TRIES and queue.host not in self.given_up:
            self._report(send, sent_id, url, Ending.AGAIN, attempt=attempt)
            return
        queue.pop()
        ending = Ending.OK if attempt.ok else Ending.FAILED
        self._report(send, sent_id, url, ending, attempt=attempt)
        if not attempt.ok and queue.host not in self.given_up:
            # What follows in the queue must not overtake the one that failed.
            self._skip(queue.sends, "An earlier message of its task failed.")
            queue.sends.clear()

    def _give_up(self, queues: HostQueues, host: str, why: str) -> None:
        if host not in self.given_up:
            self.given_up[host] = why
            self._skip(queues.give_up(host), why)

    def _skip(self, sends: Iterable[Send], why: str | None) -> None:
        for send in sends:
            self._report(send, send.message.id, self.url_of(send), Ending.SKIPPED, why=why)

    def _report(self, send: Send, sent_id: str, url: URL, ending: Ending, **more: Any) -> None:
        self.report(Outcome(send=send, sent_id=sent_id, url=url, ending=ending, **more))

    def _host_of(self, send: Send) -> str:
        return str(self.url_of(send).origin())
