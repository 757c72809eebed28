"""A run: every shot once, in its lane, at its pace; after each answer a line in the checkpoint."""

import asyncio
import dataclasses
import uuid
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Final

from yarl import URL

from webhooks.replay.checkpoint import Checkpoint
from webhooks.replay.faults import Shot
from webhooks.replay.lanes import Lane, Lanes, Order
from webhooks.replay.messages import Attempt
from webhooks.replay.outcome import Ending, Outcome
from webhooks.replay.pace import Breaker, Pace
from webhooks.replay.recording import Recording
from webhooks.replay.redaction import REDACTED
from webhooks.replay.sealing import Seal
from webhooks.replay.sending import Answer, Sender


TRIES: Final = 3
"""Sends of one shot to a receiver that asks to come again later."""

MOST_PATIENCE_SECONDS: Final = 120
"""A host that asks for more is given up: resume the run later."""


@dataclass(slots=True, kw_only=True)
class Run:
    """
    How shots are sent.

    One task decides what is next, when a request may be opened, a lane is ready and the rate has
    a turn: only then is a host chosen, so that nobody waits in a queue behind a host that is held.
    """

    seal: Seal
    sender: Sender
    pace: Pace
    breaker: Breaker
    checkpoint: Checkpoint
    recording: Recording | None
    url_of: Callable[[Shot], URL]
    tell: Callable[[Outcome], None]
    order: Order = Order.KEY
    concurrency: int = 8
    most: int = 10_000
    """Sends, tries after a Retry-After included."""
    given_up: dict[str, str] = field(default_factory=dict)
    """Hosts, and why."""
    _sent: int = 0
    _moved: asyncio.Event = field(default_factory=asyncio.Event)

    async def go(self, shots: Sequence[Shot]) -> None:
        """Send them all; `tell` hears of each. Raises: UsageError."""
        lanes = Lanes(shots, order=self.order, host_of=self._host_of)
        async with asyncio.TaskGroup() as group:
            while lane := await self._next(lanes):
                group.create_task(self._work(lanes, lane))
        self._skip(lanes.rest(), "--max sends of this run were made.")

    async def _next(self, lanes: Lanes) -> Lane | None:
        """The lane to send from, as soon as one may be; None: nothing is left to send."""
        clock = asyncio.get_running_loop().time
        while self._sent < self.most and not (lanes.empty and not lanes.busy):
            self._moved.clear()
            if lanes.busy >= self.concurrency or not lanes.some(clock()):
                await self._wait(lanes, clock())
                continue
            await self.pace.turn()
            # It may have been held, or given up, during that.
            lane = lanes.take(clock())
            if lane is None:
                continue
            if not lane.shots[0].dropped:
                self.pace.spend()
                self._sent += 1
            return lane
        return None

    async def _wait(self, lanes: Lanes, now: float) -> None:
        """Until an answer came, or a held host may be sent to again."""
        full = lanes.busy >= self.concurrency
        until = None if full else lanes.next_at()
        try:
            async with asyncio.timeout(None if until is None else max(0.0, until - now)):
                await self._moved.wait()
        except TimeoutError:
            return

    async def _work(self, lanes: Lanes, lane: Lane) -> None:
        try:
            await self._first_of(lanes, lane)
        finally:
            self._skip(lanes.give_back(lane), self.given_up.get(lane.host))
            self._moved.set()

    async def _first_of(self, lanes: Lanes, lane: Lane) -> None:
        shot = lane.shots[0]
        url = self.url_of(shot)
        if shot.dropped:
            self.checkpoint.note(shot.name, shot.message.id, None)
            lane.pop()
            self._tell(shot, shot.message.id, url, Ending.DROPPED)
            return
        if shot.delay_seconds and not lane.delayed:
            lane.delayed = True
            await asyncio.sleep(shot.delay_seconds)
            if not lanes.may(lane.host, asyncio.get_running_loop().time()):
                self._sent -= 1
                return
        sent_id, headers = self.seal.headers(shot.message, shot.copy)
        answer = await self.sender.post(url, headers, shot.body)
        lane.tries += 1
        self._note(shot, url, sent_id, headers, answer.attempt)
        self._leave_alone(lanes, lane.host, answer)
        self._settle(lane, shot, sent_id, url, answer)

    def _note(
        self, shot: Shot, url: URL, sent_id: str, headers: list[tuple[str, str]], attempt: Attempt
    ) -> None:
        """Write a send down, whatever follows it."""
        if self.recording is not None:
            # What the operator added by --header may be a secret.
            shown = [(name, REDACTED if (name, v) in self.seal.extra else v) for name, v in headers]
            message = dataclasses.replace(
                shot.message, id=sent_id, url=str(url), headers=tuple(shown), last=attempt
            )
            self.recording.request(uuid.uuid4().hex, message, path=url.raw_path_qs)
        self.checkpoint.note(shot.name, sent_id, attempt)
        self.breaker.note(str(url.origin()), good=attempt.good)

    def _leave_alone(self, lanes: Lanes, host: str, answer: Answer) -> None:
        """Hold the host back, or give it up, as the answer has it."""
        wait = answer.retry_after_seconds
        if wait is not None and wait > MOST_PATIENCE_SECONDS:
            until = datetime.now(UTC) + timedelta(seconds=wait)
            self._give_up(
                lanes, host, f"{host} asks to be left alone until {until:%Y-%m-%d %H:%M:%S} UTC."
            )
        elif wait is not None:
            lanes.hold(host, asyncio.get_running_loop().time() + wait)
        if self.breaker.open(host):
            self._give_up(lanes, host, f"{host} failed too often in a row.")

    def _settle(self, lane: Lane, shot: Shot, sent_id: str, url: URL, answer: Answer) -> None:
        """Be done with the first shot of *lane*, unless it is sent again."""
        attempt = answer.attempt
        if (
            answer.retry_after_seconds is not None
            and lane.tries < TRIES
            and lane.host not in self.given_up
        ):
            self._tell(shot, sent_id, url, Ending.AGAIN, attempt)
            return
        lane.pop()
        self._tell(shot, sent_id, url, Ending.OK if attempt.good else Ending.FAILED, attempt)
        if not attempt.good and lane.host not in self.given_up:
            # What follows it in its lane must not overtake it.
            self._skip(lane.shots, "An earlier message of its task failed.")
            lane.shots.clear()

    def _give_up(self, lanes: Lanes, host: str, why: str) -> None:
        if host not in self.given_up:
            self.given_up[host] = why
            self._skip(lanes.give_up(host), why)

    def _skip(self, shots: Iterable[Shot], why: str | None) -> None:
        for shot in shots:
            url = self.url_of(shot)
            self.tell(
                Outcome(shot=shot, sent_id=shot.message.id, url=url, ending=Ending.SKIPPED, why=why)
            )

    def _tell(
        self, shot: Shot, sent_id: str, url: URL, ending: Ending, attempt: Attempt | None = None
    ) -> None:
        self.tell(Outcome(shot=shot, sent_id=sent_id, url=url, ending=ending, attempt=attempt))

    def _host_of(self, shot: Shot) -> str:
        return str(self.url_of(shot).origin())
