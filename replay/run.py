"""A run: every shot once, in its lane, at its pace; after each answer a line in the checkpoint."""

import asyncio
import dataclasses
import uuid
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from yarl import URL

from replay.checkpoint import Checkpoint
from replay.diff import Diff, compared
from replay.faults import Shot
from replay.messages import Attempt
from replay.pace import Breaker, Pace
from replay.recording import REDACTED, Recording
from replay.sealing import Seal
from replay.sending import Sender


TRIES: Final = 3
"""Sends of one shot to a receiver that asks to come again later."""

MOST_PATIENCE_SECONDS: Final = 120.0
"""A longer Retry-After is a failure: resume the run later."""


class Order(StrEnum):
    """What must not overtake."""

    KEY = "key"
    """Messages of one task are sent one after the other."""
    NONE = "none"


class Ending(StrEnum):
    """What became of a shot."""

    OK = "ok"
    FAILED = "failed"
    DROPPED = "dropped"
    SKIPPED = "skipped"
    """The host was given up; a resumed run sends it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """A shot and what became of it."""

    shot: Shot
    sent_id: str
    url: URL
    ending: Ending
    attempt: Attempt | None = None

    @property
    def diff(self) -> Diff | None:
        """Against the recorded attempt; None: one of the two does not exist."""
        before = self.shot.message.last
        return compared(before, self.attempt) if before and self.attempt else None


@dataclass(frozen=True, slots=True, kw_only=True)
class Run:
    """How shots are sent."""

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

    async def go(self, shots: Sequence[Shot]) -> None:
        """Send them all; `tell` hears of each. Raises: UsageError."""
        waiting = iter(lanes(shots, self.order))
        async with asyncio.TaskGroup() as group:
            for _ in range(self.concurrency):
                group.create_task(self._work(waiting))

    async def _work(self, waiting: Iterator[list[Shot]]) -> None:
        for lane in waiting:
            for shot in lane:
                self.tell(await self._one(shot))

    async def _one(self, shot: Shot) -> Outcome:
        url = self.url_of(shot)
        host = str(url.origin())
        if shot.dropped:
            self.checkpoint.note(shot.name, shot.message.id, None)
            return Outcome(shot=shot, sent_id=shot.message.id, url=url, ending=Ending.DROPPED)
        if shot.delay_seconds and not self.breaker.open(host):
            await asyncio.sleep(shot.delay_seconds)
        for tried in range(1, TRIES + 1):
            if self.breaker.open(host):
                break
            await self.pace.turn(host)
            # It may have been given up while this shot waited for its turn.
            if self.breaker.open(host):
                break
            sent_id, headers = self.seal.headers(shot.message, shot.copy)
            answer = await self.sender.post(url, headers, shot.body)
            wait = answer.retry_after_seconds
            if wait is not None and wait <= MOST_PATIENCE_SECONDS:
                self.pace.hold(host, wait)
                if tried < TRIES:
                    continue
            return self._settled(shot, url, sent_id, headers, answer.attempt)
        return Outcome(shot=shot, sent_id=shot.message.id, url=url, ending=Ending.SKIPPED)

    def _settled(
        self, shot: Shot, url: URL, sent_id: str, headers: list[tuple[str, str]], attempt: Attempt
    ) -> Outcome:
        if self.recording is not None:
            self._record(self.recording, shot, url, sent_id, headers, attempt)
        self.checkpoint.note(shot.name, sent_id, attempt)
        self.breaker.note(str(url.origin()), good=attempt.good)
        ending = Ending.OK if attempt.good else Ending.FAILED
        return Outcome(shot=shot, sent_id=sent_id, url=url, ending=ending, attempt=attempt)

    def _record(
        self,
        recording: Recording,
        shot: Shot,
        url: URL,
        sent_id: str,
        headers: list[tuple[str, str]],
        attempt: Attempt,
    ) -> None:
        # What the operator added by --header may be a secret.
        shown = [(name, REDACTED if (name, v) in self.seal.extra else v) for name, v in headers]
        message = dataclasses.replace(
            shot.message, id=sent_id, url=str(url), headers=tuple(shown), last=attempt
        )
        recording.request(uuid.uuid4().hex, message, path=url.raw_path_qs)


def lanes(shots: Iterable[Shot], order: Order) -> list[list[Shot]]:
    """The shots that must follow each other, lane by lane, in the order of their first ones."""
    if order is Order.NONE:
        return [[shot] for shot in shots]
    found: dict[str, list[Shot]] = {}
    for shot in shots:
        found.setdefault(shot.message.key, []).append(shot)
    return list(found.values())
