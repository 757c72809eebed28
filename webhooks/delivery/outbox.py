"""The SQL functions that a dispatcher may call (docs/sql-interface.md), and their data."""

import uuid
from dataclasses import dataclass
from datetime import datetime
from http import HTTPStatus
from typing import Final, Literal

from pydantic import BaseModel, ConfigDict, Field

from adapters import rest


_BUSY: Final = (HTTPStatus.TOO_MANY_REQUESTS, HTTPStatus.SERVICE_UNAVAILABLE)
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


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    latency_ms: int
    """Until the status came, or until the attempt was given up."""
    status_code: int | None = None
    """None: there was no answer, and `error` says why."""
    text: str | None = None
    """The first characters of the answer's body."""
    error: str | None = None
    """A sentence for the endpoint's owner; it reveals nothing about our network."""
    retry_after_seconds: int | None = None

    @property
    def delivered(self) -> bool:
        """Whether the receiver accepted it: any 2xx, and nothing else."""
        ok, end = HTTPStatus.OK, HTTPStatus.MULTIPLE_CHOICES
        return self.status_code is not None and ok <= self.status_code < end

    @property
    def gone(self) -> bool:
        """Whether the receiver wants nothing more, ever."""
        return self.status_code == HTTPStatus.GONE

    @property
    def asks_for_time(self) -> bool:
        """Whether the receiver wants no delivery at all for a while."""
        return self.status_code in _BUSY and self.retry_after_seconds is not None


class Outbox:
    """The database, by the service key. Every method may raise RestError."""

    def __init__(self, database: rest.Rest, *, lease_seconds: int) -> None:
        self._database = database
        self._lease_seconds = lease_seconds

    async def check(self) -> None:
        """Call a function that only the service role may call; it changes nothing."""
        params = {"p_endpoint_id": _NO_ENDPOINT}
        await self._database.rpc("webhook_secrets_of", params, idempotent=True)

    async def claim(self, limit: int) -> list[Delivery]:
        """Lease at most *limit* due deliveries; what is not settled in time is due again."""
        rows = await self._database.rpc(
            "claim_deliveries", {"p_limit": limit, "p_lease_seconds": self._lease_seconds}
        )
        return [Delivery.model_validate(row) for row in rows or []]

    async def settle(self, delivery: Delivery, answer: Answer) -> Settled:
        """Record what came of an attempt; to do so twice is harmless."""
        settled: Settled = await self._database.rpc(
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
        return settled
