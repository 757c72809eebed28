"""
What makes the listener look at the queue: many hints become one look.

Hints may be lost; `tick` guarantees a look every few seconds, and reaps silent attempts.
"""

import asyncio
import random
from enum import StrEnum
from typing import Final

from adapters import machine_auth, rest
from listener.lease_store import LeaseStore
from runtime import logs
from s3_sam3 import realtime
from s3_sam3.contracts import notices


class WakeSource(StrEnum):
    """What made the listener look; the label of `claims_by_source`."""

    HINT = "hint"
    WEBHOOK = "webhook"
    POLL = "poll"


class Wake:
    """
    Turns any number of hints into at most one pending look at the queue.

    A hint says only that something may have changed; what there is to do is asked of the
    database. Losing or doubling hints is therefore harmless. A hint that comes during a look
    leads to another look.
    """

    def __init__(self) -> None:
        self._pending = asyncio.Event()
        self._source = WakeSource.POLL

    def hint(self, source: WakeSource) -> None:
        """Ask for a look. A pending look keeps the source that asked first."""
        if not self._pending.is_set():
            self._source = source
            self._pending.set()

    async def wait(self) -> WakeSource:
        """Wait for a hint; answers the source of the first one since the last look."""
        await self._pending.wait()
        self._pending.clear()
        return self._source


def hint_channel(
    wake: Wake, tokens: machine_auth.MachineTokens, *, url: str, apikey: str
) -> realtime.SupervisedChannel:
    """
    The workers' Realtime topic: a notice of a pending task is a hint.

    A (re)join counts as a poll, since hints before it were lost.
    """

    def noticed(notice: realtime.Notice) -> None:
        if notice.event == notices.TASK_PENDING:
            wake.hint(WakeSource.HINT)

    return realtime.SupervisedChannel(
        realtime.ChannelSettings(url=url, apikey=apikey, topic=notices.WORKERS_TOPIC),
        tokens.token,
        on_notice=noticed,
        on_live=lambda: wake.hint(WakeSource.POLL),
    )


log = logs.get_logger(__name__)

_RANDOM: Final = random.SystemRandom()

_SHORTEST, _LONGEST = 0.5, 1.3
"""
Factors of the poll's seconds. With the default of 10 a task without a hint waits 13 s at most, so
its claim has 2 s left of the 15 s that are promised.
"""


async def tick(wake: Wake, store: LeaseStore, *, poll_seconds: float) -> None:
    """Ask for a look and reap silent attempts, now and every *poll_seconds* x 0.5 to 1.3."""
    due = asyncio.Event()
    async with asyncio.TaskGroup() as both:
        # Beside the ticks: a database that answers slowly must not make the next look late.
        both.create_task(_reap_when(due, wake, store))
        while True:
            wake.hint(WakeSource.POLL)
            due.set()
            await asyncio.sleep(poll_seconds * _RANDOM.uniform(_SHORTEST, _LONGEST))


async def _reap_when(due: asyncio.Event, wake: Wake, store: LeaseStore) -> None:
    while True:
        await due.wait()
        due.clear()
        try:
            count = await store.reap()
        except (rest.RestError, machine_auth.MachineAuthError) as error:
            # Any listener may reap; the next tick tries again.
            log.warning("reap_failed", error=str(error))
            continue
        if count:
            log.warning("attempts_reaped", count=count)
            wake.hint(WakeSource.POLL)
