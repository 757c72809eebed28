"""What a renewal promises: 0.8 of the lease, counted from when it was asked for."""

import asyncio
from collections.abc import Mapping
from typing import Any

import pytest
from listeners import claimed, lease_store
from typing_extensions import override

from adapters.rest import Rest
from listener.errors import LeaseLost
from listener.lease_store import SURE_SHARE, AttemptTimes, Lease


class SlowRest(Rest):
    """Answers a renewal after a while."""

    def __init__(self, answer: str) -> None:
        super().__init__(url="http://127.0.0.1:9", key="anon")
        self.answer = answer

    @override
    async def rpc(
        self,
        name: str,
        params: Mapping[str, Any] | None = None,
        token: str | None = None,
        *,
        idempotent: bool = False,
    ) -> Any:
        await asyncio.sleep(0.05)
        return self.answer


async def test_a_renewal_is_sure_of_four_fifths() -> None:
    """The database may have written nothing, so no more is counted on."""
    loop = asyncio.get_running_loop()
    lease = _lease(SlowRest("ok"), asked_at=loop.time() - 20)
    asked_at = loop.time()
    await lease._renew()

    assert asked_at + 24 <= lease.ends_at < asked_at + 24.05


async def test_an_early_renewal_takes_nothing_away() -> None:
    """What the claim promised still holds when an early renewal promises less."""
    asked_at = asyncio.get_running_loop().time()
    lease = _lease(SlowRest("ok"), asked_at=asked_at)
    await lease._renew()

    assert lease.ends_at == asked_at + 30


async def test_a_stale_renewal_ends_it() -> None:
    """`stale` is the end, at once."""
    lease = _lease(SlowRest("stale"), asked_at=asyncio.get_running_loop().time())
    with pytest.raises(LeaseLost):
        await lease._renew()


def test_two_renewals_fit_into_what_is_sure() -> None:
    """One that got no answer leaves time for another."""
    times = AttemptTimes()

    assert times.renew * 2 <= times.lease * SURE_SHARE


def _lease(database: Rest, *, asked_at: float) -> Lease:
    return Lease(claimed(asked_at=asked_at), lease_store(database, lease=30))
