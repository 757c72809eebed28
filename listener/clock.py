"""The guarantee: a look every few seconds whatever became of the hints, and the reaper."""

import asyncio
import random
from typing import Final

from adapters import machine_auth, rest, telemetry
from listener.lease_store import LeaseStore
from listener.wake import Wake, WakeSource


log = telemetry.get_logger(__name__)

_DICE: Final = random.SystemRandom()


async def tick(wake: Wake, store: LeaseStore, *, poll_seconds: float) -> None:
    """Ask for a look and reap silent attempts, now and then every *poll_seconds* x 0.5 to 1.5."""
    while True:
        wake.hint(WakeSource.POLL)
        if await _reap(store):
            wake.hint(WakeSource.POLL)
        await asyncio.sleep(poll_seconds * _DICE.uniform(0.5, 1.5))


async def _reap(store: LeaseStore) -> int:
    try:
        count = await store.reap()
    except (rest.RestError, machine_auth.MachineAuthError) as error:
        # Any listener may reap; the next tick tries again.
        log.warning("reap_failed", error=str(error))
        return 0
    if count:
        log.warning("attempts_reaped", count=count)
    return count
