"""What a look at the queue brings, when a row cannot be read."""

import uuid
from collections.abc import Mapping
from typing import Any, cast

import structlog

from adapters.machine_auth import MachineTokens
from adapters.rest import Rest, RestUnavailable
from listener.lease_store import AttemptTimes, LeaseStore


LATER = "2026-11-26T12:00:30+00:00"


def row(token: int, **changed: Any) -> dict[str, Any]:
    """A row of `claim_tasks`."""
    return {
        "id": str(uuid.uuid4()),
        "token": token,
        "user_id": str(uuid.uuid4()),
        "source_image_url": "uploads/u/a.png",
        "kind": "image",
        "prompts": [{"text": "cat"}],
        "options": {},
        "attempt_count": 1,
        "created_at": LATER,
        "lease_expires_at": LATER,
        "deadline_at": LATER,
        **changed,
    }


class OneAnswer:
    """A database that answers a claim and then falls silent."""

    def __init__(self, *rows: dict[str, Any]) -> None:
        self.rows = rows
        self.called: list[str] = []

    async def rpc(self, name: str, params: Mapping[str, Any], token: str) -> Any:
        """Answer `claim_tasks` only."""
        self.called.append(name)
        if name != "claim_tasks":
            raise RestUnavailable
        return list(self.rows)


class Tokens:
    """A machine that is signed in."""

    async def token(self) -> str:
        """Its token."""
        return "t"


async def test_a_row_that_cannot_be_given_up_does_not_hold_the_others() -> None:
    """An unreadable row is failed; if that call is lost, the readable ones are worked on anyway."""
    database = OneAnswer(row(1), row(2, options={"hologram": True}), row(3))
    store = LeaseStore(
        cast("Rest", database),
        cast("MachineTokens", Tokens()),
        worker="w",
        times=AttemptTimes(),
    )
    with structlog.testing.capture_logs() as lines:
        claimed = await store.claim(3, {})
    assert [claim.token for claim in claimed.claims] == [1, 3]
    assert claimed.count == 3
    assert database.called == ["claim_tasks", "fail_task"]
    assert [line["event"] for line in lines] == ["claim_unreadable", "settlement_lost"]
