"""
Webhooks to customers: which events there are, what their bodies say, when they are tried again.

Headers and signature are Standard Webhooks 1.0 (`webhook-id`, `webhook-timestamp`,
`webhook-signature` over the raw bytes). A receiver counts an id once: the same id may come twice.
"""

from datetime import datetime
from enum import StrEnum
from typing import Final, Literal
from uuid import UUID

from pydantic import BaseModel, ConfigDict, Field

from s3_sam3.contracts.tasks import TaskStatus


class WebhookEvent(StrEnum):
    """What a webhook can ask to be told of."""

    TASK_DONE = "task.done"
    TASK_FAILED = "task.failed"
    TASK_CANCELLED = "task.cancelled"
    TASK_PROGRESS = "task.progress"
    """Only for those who name it; at most every WEBHOOK_PROGRESS_SECONDS of a task."""


DEFAULT_EVENTS: Final = (
    WebhookEvent.TASK_DONE,
    WebhookEvent.TASK_FAILED,
    WebhookEvent.TASK_CANCELLED,
)
"""What a webhook is told of that names no events: every end of a task."""

TEST_EVENT: Final = "webhook.test"
"""The type of what `POST /api/v1/webhooks/{id}/test` has sent; its data is a WebhookTestData."""


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


class _Told(BaseModel):
    # A receiver of today reads what a newer server sends.
    model_config = ConfigDict(frozen=True, extra="ignore")


class EventError(_Told):
    """Why the task failed or expired."""

    code: str = Field(description="An `ErrorCode`, perhaps one newer than this page.")
    message: str


class TaskEventData(_Told):
    """Where the task stood when it moved; read the rest by its id."""

    task_id: UUID
    status: TaskStatus
    progress: float = Field(ge=0, le=1)
    project_id: UUID | None
    instance_count: int | None
    credits_charged: int | None
    error: EventError | None
    created_at: datetime
    finished_at: datetime | None


class TaskEvent(_Told):
    """The body of a webhook about a task."""

    type: WebhookEvent
    timestamp: datetime = Field(description="When it happened, not when it was sent.")
    data: TaskEventData


class WebhookTestData(_Told):
    """Which webhook is tried out."""

    webhook_id: UUID


class WebhookTest(_Told):
    """The body of a webhook that tries out whether webhooks arrive."""

    type: Literal["webhook.test"]
    timestamp: datetime
    data: WebhookTestData


RETRY_SECONDS: Final = (5, 300, 1800, 7200, 18_000, 36_000, 50_400, 72_000, 86_400)
"""Waits after the first, second, ... failed attempt, each with a jitter of a tenth; then dead."""

URL_PATTERN: Final = (
    r"^(https://[^/@\s]+|http://(localhost|127\.0\.0\.1)(:[0-9]+)?)(/[^\s\x00-\x1f\x7f]*)?$"
)
"""https without user; plain http only to the sender's own machine. The database has the same."""
