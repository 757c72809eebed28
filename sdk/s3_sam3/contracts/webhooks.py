"""
Webhooks: the bodies of `/api/v1/webhooks`, the events, what is sent, and when it is tried again.

Headers and signature are Standard Webhooks 1.0 (`webhook-id`, `webhook-timestamp`,
`webhook-signature` over the raw bytes). A receiver counts an id once: the same id may come twice.
"""

from datetime import datetime
from enum import StrEnum
from typing import Annotated, Final, Literal, Self
from uuid import UUID

from pydantic import Field, model_validator

from s3_sam3.contracts import limits
from s3_sam3.contracts.bodies import Answer, Request
from s3_sam3.contracts.tasks import TaskStatus


class WebhookEvent(StrEnum):
    """The events that a webhook can ask for."""

    TASK_DONE = "task.done"
    TASK_FAILED = "task.failed"
    TASK_CANCELLED = "task.cancelled"
    TASK_PROGRESS = "task.progress"
    """Sent only where it is asked for; at most every five seconds of a task."""


DEFAULT_EVENTS: Final = (
    WebhookEvent.TASK_DONE,
    WebhookEvent.TASK_FAILED,
    WebhookEvent.TASK_CANCELLED,
)
"""Sent to a webhook that names no events: every end of a task."""

TEST_EVENT: Final = "webhook.test"
"""Sent by `POST /api/v1/webhooks/{id}/test`, as a WebhookTest."""


class DeliveryStatus(StrEnum):
    """Where a delivery stands; the labels of `public.webhook_delivery_status`."""

    PENDING = "pending"
    """It waits for its next attempt."""
    DELIVERED = "delivered"
    """The receiver answered with 2xx."""
    DEAD = "dead"
    """Given up: every attempt failed, or the receiver answered 410."""


class DisabledReason(StrEnum):
    """Why nothing is sent to a webhook."""

    OWNER = "owner"
    """Its owner switched it off."""
    GONE = "gone"
    """The receiver answered 410."""


RETRY_SECONDS: Final = (5, 300, 1800, 7200, 18_000, 36_000, 50_400, 72_000, 86_400)
"""Waits after the first, second, ... failed attempt, each with a jitter of a tenth; then dead."""

URL_PATTERN: Final = (
    r"^(https://[^/@\s]+|http://(localhost|127\.0\.0\.1)(:[0-9]+)?)(/[^\s\x00-\x1f\x7f]*)?$"
)
"""https without user; plain http only to the sender's own machine. The database checks the same."""

_Url = Annotated[str, Field(pattern=URL_PATTERN, max_length=limits.MAX_WEBHOOK_URL_CHARACTERS)]
_Events = Annotated[tuple[WebhookEvent, ...], Field(min_length=1, max_length=len(WebhookEvent))]
_Description = Annotated[str, Field(max_length=limits.MAX_WEBHOOK_DESCRIPTION_CHARACTERS)]


class WebhookRequest(Request):
    """Where events are sent, and which."""

    url: _Url = Field(description="https, without user and password in it.")
    events: _Events = Field(default=DEFAULT_EVENTS, description="Default: every end of a task.")
    description: _Description | None = None


class WebhookChange(Request):
    """What to change of a webhook; what is left out stays."""

    url: _Url | None = None
    events: _Events | None = None
    description: _Description | None = Field(default=None, description="Empty: removed.")
    enabled: bool | None = Field(
        default=None, description="False: nothing is sent, deliveries wait."
    )

    @model_validator(mode="after")
    def _something(self) -> Self:
        if not self.model_dump(exclude_none=True):
            msg = "send url, events, description or enabled"
            raise ValueError(msg)
        return self


class Webhook(Answer):
    """An address to which events of its owner's tasks are sent."""

    id: UUID
    url: str
    events: tuple[WebhookEvent, ...]
    description: str | None = None
    enabled: bool
    disabled_reason: DisabledReason | None = None
    failures: int = Field(description="Failed attempts in a row.")
    paused_until: datetime | None = Field(
        default=None, description="After five failures in a row: nothing is sent until then."
    )
    created_at: datetime
    updated_at: datetime


class NewWebhook(Webhook):
    """A new webhook with its secret, which no other answer shows."""

    secret: str = Field(description="`whsec_...`: verifies `webhook-signature`. Keep it.")


class WebhookList(Answer):
    """All webhooks of the caller, oldest first."""

    items: tuple[Webhook, ...]


class WebhookSecret(Answer):
    """A new secret, which no other answer shows. The old one signs beside it for 24 hours."""

    id: UUID
    secret: str


class DeliveryAttempt(Answer):
    """One try at a delivery."""

    attempted_at: datetime
    status_code: int | None = Field(default=None, description="Null: no answer.")
    latency_ms: int
    answer: str | None = Field(default=None, description="The first characters of the answer.")
    error: str | None = Field(default=None, description="Why there was no answer.")


class Delivery(Answer):
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


class DeliveryPage(Answer):
    """A page of deliveries, newest first."""

    items: tuple[Delivery, ...]
    next_cursor: str | None = None


class QueuedDelivery(Answer):
    """A delivery that is on its way."""

    delivery_id: str


class EventError(Answer):
    """Why the task failed or expired."""

    code: str = Field(description="An `ErrorCode`, perhaps one newer than this page.")
    message: str


class TaskEventData(Answer):
    """The task's state at that moment; read the rest by its id."""

    task_id: UUID
    status: TaskStatus
    progress: float = Field(ge=0, le=1)
    project_id: UUID | None
    instance_count: int | None
    credits_charged: int | None
    error: EventError | None
    created_at: datetime
    finished_at: datetime | None


class TaskEvent(Answer):
    """The body of a webhook about a task."""

    type: WebhookEvent
    timestamp: datetime = Field(description="When it happened, not when it was sent.")
    data: TaskEventData


class WebhookTestData(Answer):
    """The webhook that is tested."""

    webhook_id: UUID


class WebhookTest(Answer):
    """The body of a test, which a user asks for to see whether webhooks arrive."""

    type: Literal["webhook.test"]
    timestamp: datetime
    data: WebhookTestData
