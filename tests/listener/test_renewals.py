"""What a renewal promises: 0.8 of the lease, counted from when it was asked for."""

import asyncio
from collections.abc import Mapping
from typing import Any

import pytest
from listeners import claimed
from pydantic import ValidationError
from typing_extensions import override

from adapters.machine_auth import ServiceKey
from adapters.rest import Rest
from listener.errors import LeaseLost
from listener.lease import Lease
from listener.lease_store import LeaseStore
from listener.settings import ListenerSettings


class SlowDoor(Rest):
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
    lease = _lease(SlowDoor("ok"), asked_at=loop.time() - 20)
    asked_at = loop.time()
    await lease._renew()

    assert asked_at + 24 <= lease.ends_at < asked_at + 24.05


async def test_an_early_renewal_takes_nothing_away() -> None:
    """What the claim promised still holds when an early renewal promises less."""
    asked_at = asyncio.get_running_loop().time()
    lease = _lease(SlowDoor("ok"), asked_at=asked_at)
    await lease._renew()

    assert lease.ends_at == asked_at + 30


async def test_a_stale_renewal_ends_it() -> None:
    """`stale` is the end, at once."""
    lease = _lease(SlowDoor("stale"), asked_at=asyncio.get_running_loop().time())
    with pytest.raises(LeaseLost):
        await lease._renew()


@pytest.mark.parametrize(("renew_seconds", "fits"), [(12, True), (12.5, False)])
def test_two_renewals_fit_into_what_is_sure(renew_seconds: float, *, fits: bool) -> None:
    """Of a lease of 30 seconds 24 are sure: 12 leave room for a second try, more do not."""
    values = {
        "supabase_url": "http://x.example",
        "supabase_anon_key": "anon",
        "r2_endpoint": "http://x.example",
        "r2_access_key_id": "id",
        "r2_secret_access_key": "secret",
        "r2_bucket": "bucket",
        "api_secret_key": "key",
        "listener_renew_seconds": renew_seconds,
    }
    if fits:
        ListenerSettings.model_validate(values)
        return
    with pytest.raises(ValidationError, match=r"0\.4 of LISTENER_LEASE_SECONDS"):
        ListenerSettings.model_validate(values)


def _lease(door: Rest, *, asked_at: float) -> Lease:
    store = LeaseStore(
        door, ServiceKey(key="key"), worker="test", lease_seconds=30, deadline_seconds=300
    )
    return Lease(claimed(asked_at=asked_at), store, lease_seconds=30, renew_seconds=2)
