"""The right to work on a task: renewed while the work goes on, lost at the first `stale`."""

import asyncio
import random
from typing import Final

from adapters import machine_auth, rest
from listener.errors import LeaseLost
from listener.lease_store import Claim, LeaseStore
from runtime import logs
from s3_sam3.contracts.tasks import Settlement


log = logs.get_logger(__name__)

_RANDOM: Final = random.SystemRandom()

SURE_SHARE: Final = 0.8
"""Share of a lease that a renewal leaves at least: the database writes only when less is left."""

_RETRY_SECONDS: Final = 1.0
"""Pause after a renewal that got no answer."""


class Lease:
    """One claim's lease by this host's own clock, counted from before each request."""

    def __init__(self, claim: Claim, store: LeaseStore) -> None:
        self._token = claim.token
        self._store = store
        self.ends_at = claim.asked_at + store.times.lease
        """Loop time until which the lease surely holds, if nobody takes it away."""

    async def keep(self) -> None:
        """Renew until cancelled. Raises: LeaseLost."""
        regular = pause = self._store.times.renew
        while True:
            # Jitter, so that many workers do not renew at once; only earlier, never later.
            await asyncio.sleep(pause * _RANDOM.uniform(0.8, 1.0))
            pause = regular if await self._renew() else _RETRY_SECONDS

    async def _renew(self) -> bool:
        loop = asyncio.get_running_loop()
        asked_at = loop.time()
        try:
            async with asyncio.timeout_at(max(self.ends_at, asked_at)):
                answer = await self._store.renew(self._token)
        except (rest.RestError, machine_auth.MachineAuthError, TimeoutError) as error:
            if loop.time() + _RETRY_SECONDS >= self.ends_at:
                raise LeaseLost("the lease ended before it could be renewed") from error
            log.warning("lease_not_renewed", error=str(error))
            return False
        if answer is Settlement.STALE:
            raise LeaseLost
        # The `ok` of an early renewal wrote nothing, so the end known before still holds.
        self.ends_at = max(self.ends_at, asked_at + self._store.times.lease * SURE_SHARE)
        return True
