"""The clock of a listener: what it says of the reaper."""

import asyncio
import contextlib
from typing import cast

import structlog

from adapters.rest import RestUnavailable
from listener.clock import tick
from listener.lease_store import LeaseStore
from listener.wake import Wake


class DeafStore:
    """A database that does not answer."""

    def __init__(self) -> None:
        self.asked = asyncio.Event()

    async def reap(self) -> int:
        """Fail, as when the connection is gone."""
        self.asked.set()
        raise RestUnavailable


async def test_a_reaping_that_fails_is_a_warning() -> None:
    """Somebody must look: with no reaper nothing expires and no silent attempt ends."""
    store = DeafStore()
    with structlog.testing.capture_logs() as lines:
        ticking = asyncio.create_task(tick(Wake(), cast("LeaseStore", store), poll_seconds=3600))
        await store.asked.wait()
        await asyncio.sleep(0)
        ticking.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await ticking
    assert [(line["event"], line["log_level"]) for line in lines] == [("reap_failed", "warning")]
