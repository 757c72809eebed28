"""The SQL functions that a dispatcher may call, as Python sees them (docs/sql-interface.md)."""

import uuid
from datetime import datetime
from typing import Final, Literal

from pydantic import BaseModel, ConfigDict, Field

from adapters import rest
from webhooks.delivery.answers import Answer


_NO_ENDPOINT: Final = str(uuid.UUID(int=0))

Settled = Literal["ok", "stale"]
"""stale: another dispatcher has it, it was redelivered, or it was settled already."""


class Delivery(BaseModel):
    """A claimed delivery, with all that is needed to send it."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    id: str
    claim_token: int
    endpoint_id: uuid.UUID
    url: str
    secrets: tuple[str, ...] = Field(repr=False)
    """Newest first; each signs."""
    event: str
    body: str = Field(repr=False)
    """The exact text to sign and send, as UTF-8."""
    attempt_count: int
    """Attempts before this one."""
    created_at: datetime


class Outbox:
    """The database, by the service key. Every method may raise RestError."""

    def __init__(self, door: rest.Rest, *, lease_seconds: int) -> None:
        self._door = door
        self._lease_seconds = lease_seconds

    async def check(self) -> None:
        """Change nothing, with the key and a function that only the service role may call."""
        await self._door.rpc("webhook_secrets_of", {"p_endpoint_id": _NO_ENDPOINT}, idempotent=True)

    async def claim(self, limit: int) -> list[Delivery]:
        """Lease at most *limit* due deliveries; what is not settled in time comes back."""
        rows = await self._door.rpc(
            "claim_deliveries", {"p_limit": limit, "p_lease_seconds": self._lease_seconds}
        )
        return [Delivery.model_validate(row) for row in rows or []]

    async def settle(self, delivery: Delivery, answer: Answer) -> Settled:
        """Say what came of an attempt; saying it twice is harmless."""
        said: Settled = await self._door.rpc(
            "settle_delivery",
            {
                "p_id": delivery.id,
                "p_claim_token": delivery.claim_token,
                "p_status_code": answer.status_code,
                "p_latency_ms": answer.latency_ms,
                "p_answer": answer.text,
                "p_error": answer.error,
                "p_retry_after_seconds": answer.retry_after_seconds,
            },
            idempotent=True,
        )
        return said
