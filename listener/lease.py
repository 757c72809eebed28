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

_DICE: Final = random.SystemRandom()
SURE_SHARE: Final = 0.8
"""Of a lease, what a renewal leaves at least: the database writes only when less is left."""

_RETRY_SECONDS: Final = 1.0
"""Pause after a renewal that got no answer."""


class Lease:
    """One claim's lease, by this host's own clock (counted from before each request)."""

    def __init__(
        self, claim: Claim, store: LeaseStore, *, lease_seconds: float, renew_seconds: float
    ) -> None:
        self._token = claim.token
        self._store = store
        self._lease_seconds = lease_seconds
        self._renew_seconds = renew_seconds
        self.ends_at = claim.asked_at + lease_seconds
        """Loop time until which the lease surely holds, if nobody takes it away."""

    async def keep(self) -> None:
        """Renew until cancelled. Raises: LeaseLost."""
        pause = self._renew_seconds
        while True:
            # Only earlier than told, never later, so that many workers do not renew at once.
            await asyncio.sleep(pause * _DICE.uniform(0.8, 1.0))
            pause = self._renew_seconds if await self._renew() else _RETRY_SECONDS

    async def _renew(self) -> bool:
        asked_at = asyncio.get_running_loop().time()
        try:
            async with asyncio.timeout_at(max(self.ends_at, asked_at)):
                answer = await self._store.renew(self._token)
        except (rest.RestError, machine_auth.MachineAuthError, TimeoutError) as error:
            if asyncio.get_running_loop().time() + _RETRY_SECONDS >= self.ends_at:
                raise LeaseLost("the lease ended before it could be renewed") from error
            log.warning("lease_not_renewed", error=str(error))
            return False
        if answer is Settlement.STALE:
            raise LeaseLost
        # An early `ok` wrote nothing, so what was known before still holds.
        self.ends_at = max(self.ends_at, asked_at + self._lease_seconds * SURE_SHARE)
        return True
