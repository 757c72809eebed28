"""The query parameters of the routes that take some."""

from uuid import UUID

from pydantic import BaseModel, ConfigDict, Field

from s3_sam3.contracts import limits
from s3_sam3.contracts.tasks import TaskStatus
from s3_sam3.contracts.webhooks import DeliveryStatus


class _Query(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class NoQuery(_Query):
    """A route that takes no parameters."""


class WaitQuery(_Query):
    """How long `POST /api/v1/segment` may wait for the end of the task."""

    wait: float = Field(
        default=0,
        ge=0,
        le=limits.MAX_WAIT_SECONDS,
        description="Seconds to wait for the task to end; 200 when it did, 202 when not.",
    )


class PageQuery(_Query):
    """One page of a list."""

    limit: int = Field(default=20, ge=1, le=limits.MAX_PAGE_SIZE, description="Rows per page.")
    cursor: str | None = Field(
        default=None, max_length=512, description="`next_cursor` of the page before."
    )


class ResultsQuery(PageQuery):
    """One page of results, of one status or one project if wanted."""

    status: TaskStatus | None = None
    project_id: UUID | None = None


class DeliveriesQuery(PageQuery):
    """One page of a webhook's deliveries, of one status if wanted."""

    status: DeliveryStatus | None = None
