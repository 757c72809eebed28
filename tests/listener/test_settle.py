"""A settlement is sent until it is answered or the lease ends, and twice is harmless."""

import asyncio
from collections.abc import Mapping
from typing import Any

import structlog
from listeners import attempt_of, claimed, lease_store
from typing_extensions import override

from adapters.rest import Rest, RestUnavailable
from listener import settle
from s3_sam3.contracts.errors import ErrorCode


class FlakyRest(Rest):
    """Does not answer the first *failures* calls; the database behind it may have acted."""

    def __init__(self, failures: int) -> None:
        super().__init__(url="http://127.0.0.1:9", key="anon")
        self.failures = failures
        self.calls = 0
        self.answered = asyncio.Event()

    @override
    async def rpc(
        self,
        name: str,
        params: Mapping[str, Any] | None = None,
        token: str | None = None,
        *,
        idempotent: bool = False,
    ) -> Any:
        self.calls += 1
        if self.calls <= self.failures:
            raise RestUnavailable
        self.answered.set()
        return "ok" if self.failures == 0 else "duplicate"


async def test_a_settlement_is_sent_again_until_it_is_answered() -> None:
    """Two lost answers and a `duplicate` are one settlement."""
    database = FlakyRest(failures=2)
    with structlog.testing.capture_logs() as lines:
        await _settle(database, lease_seconds=20)

    assert database.calls == 3
    assert [line["event"] for line in lines] == ["task_failed"]


async def test_a_settlement_ends_with_the_lease() -> None:
    """When nobody answers until the lease ends, the reaper is left to it, and the log says so."""
    database = FlakyRest(failures=1000)
    with structlog.testing.capture_logs() as lines:
        await asyncio.wait_for(_settle(database, lease_seconds=0), timeout=5)

    assert database.calls >= 2
    assert [line["event"] for line in lines] == ["settlement_lost"]


async def _settle(database: Rest, *, lease_seconds: int) -> None:
    now = asyncio.get_running_loop().time()
    attempt = attempt_of(claimed(asked_at=now), lease_store(database, lease=lease_seconds))
    await settle.settle(attempt, settle.Failed(code=ErrorCode.OUT_OF_MEMORY, detail="none left"))
