"""How far an attempt is, told beside the work and never in its way."""

import asyncio
from enum import Enum
from typing import Final

from adapters import machine_auth, rest, telemetry
from contracts.tasks import Settlement
from listener.errors import LeaseLost
from listener.lease_store import LeaseStore


log = telemetry.get_logger(__name__)

_GAP_SECONDS: Final = 0.5
"""Least time between two reports; an attempt shorter than this reports nothing."""


class Milestone(float, Enum):
    """Shares of an attempt, roughly by time on a GPU."""

    FETCHED = 0.05
    SENT = 0.1
    PREDICTED = 0.9
    STORED = 0.97


class Progress:
    """The latest milestone of one attempt."""

    def __init__(self, token: int, store: LeaseStore) -> None:
        self._token = token
        self._store = store
        self._moved = asyncio.Event()
        self._milestone = Milestone.FETCHED

    def reach(self, milestone: Milestone) -> None:
        """Note the milestone; `tell` sends it when it is its time."""
        self._milestone = milestone
        self._moved.set()

    async def tell(self) -> None:
        """Report until cancelled. Raises: LeaseLost, when the database says so."""
        while True:
            await asyncio.sleep(_GAP_SECONDS)
            await self._moved.wait()
            self._moved.clear()
            try:
                answer = await self._store.report_progress(self._token, self._milestone.value)
            except (rest.RestError, machine_auth.MachineAuthError) as error:
                # The next report says more than this one, and the renewal guards the lease.
                log.info("progress_not_reported", error=str(error))
                continue
            if answer is Settlement.STALE:
                raise LeaseLost
