"""The guarantee: a look every few seconds, whether hints come or not; and the reaper."""

import asyncio
import random
from typing import Final

from adapters import machine_auth, rest
from listener.lease_store import LeaseStore
from listener.wake import Wake, WakeSource
from runtime import logs


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
