"""The public bodies of webhooks and their deliveries, shared with the SDK."""

from datetime import datetime
from typing import Annotated, Literal, Self
from uuid import UUID

from pydantic import BaseModel, ConfigDict, Field, model_validator

from s3_sam3.contracts import limits
from s3_sam3.contracts.webhooks import (
    DEFAULT_EVENTS,
    URL_PATTERN,
    DeliveryStatus,
    DisabledReason,
    WebhookEvent,
)


class _Answer(BaseModel):
    # Unknown fields are ignored, so that an old client reads a newer server.
    model_config = ConfigDict(frozen=True)


class _Request(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


_Url = Annotated[str, Field(pattern=URL_PATTERN, max_length=limits.MAX_WEBHOOK_URL_CHARACTERS)]
_Events = Annotated[tuple[WebhookEvent, ...], Field(min_length=1, max_length=len(WebhookEvent))]
_Description = Annotated[str, Field(max_length=limits.MAX_WEBHOOK_DESCRIPTION_CHARACTERS)]


class WebhookRequest(_Request):
    """Where to tell, and of what."""

    url: _Url = Field(description="https, without user and password in it.")
    events: _Events = Field(default=DEFAULT_EVENTS, description="Default: every end of a task.")
    description: _Description | None = None


class WebhookChange(_Request):
    """What to change of a webhook; what is left out stays."""

    url: _Url | None = None
    events: _Events | None = None
    description: _Description | None = Field(default=None, description="Empty: none any more.")
    enabled: bool | None = Field(default=None, description="Off: nothing is sent, it waits.")

    @model_validator(mode="after")
    def _something(self) -> Self:
        if not self.model_dump(exclude_none=True):
            msg = "send url, events, description or enabled"
            raise ValueError(msg)
        return self


class Webhook(_Answer):
    """An address that is told of its owner's tasks."""

    id: UUID
    url: str
    events: tuple[WebhookEvent, ...]
    description: str | None = None
    enabled: bool
    disabled_reason: DisabledReason | None = None
    failures: int = Field(description="Failed attempts in a row.")
    paused_until: datetime | None = Field(
        default=None, description="After five failures in a row: nothing is sent before."
    )
    created_at: datetime
    updated_at: datetime


class NewWebhook(Webhook):
    """A webhook that was just made, with its secret: shown this once."""

    secret: str = Field(description="`whsec_...`: verifies `webhook-signature`. Keep it.")


class WebhookList(_Answer):
    """All webhooks of the caller, oldest first."""

    items: tuple[Webhook, ...]


class WebhookSecret(_Answer):
    """A new secret, shown this once. The old one signs beside it for 24 hours."""

    id: UUID
    secret: str


class DeliveryAttempt(_Answer):
    """One try at a delivery."""

    attempted_at: datetime
    status_code: int | None = Field(default=None, description="Null: no answer.")
    latency_ms: int
    answer: str | None = Field(default=None, description="The first characters of the answer.")
    error: str | None = Field(default=None, description="Why there was no answer.")


class Delivery(_Answer):
    """One message to one webhook."""

    id: str = Field(description="`webhook-id`: the receiver counts it once.")
    webhook_id: UUID
    event: WebhookEvent | Literal["webhook.test"]
    task_id: UUID | None = None
    status: DeliveryStatus
    attempt_count: int = Field(description="Since it was made or last redelivered.")
    next_attempt_at: datetime | None = Field(
        default=None, description="While pending; not before the webhook is on and not paused."
    )
    last_status_code: int | None = None
    body: str = Field(description="The exact text that is signed.")
    created_at: datetime
    finished_at: datetime | None = None
    attempts: tuple[DeliveryAttempt, ...] = Field(
        default=(), description="Newest first, at most 20."
    )


class DeliveryPage(_Answer):
    """A page of deliveries, newest first."""

    items: tuple[Delivery, ...]
    next_cursor: str | None = None


class QueuedDelivery(_Answer):
    """A delivery that is on its way."""

    delivery_id: str
