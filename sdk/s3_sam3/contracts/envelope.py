"""The one shape of every answer of the public API."""

from datetime import datetime
from typing import Any, Generic, TypeVar

from pydantic import BaseModel, ConfigDict, Field

from s3_sam3.contracts.errors import ErrorCode


Data = TypeVar("Data")


class ErrorBody(BaseModel):
    """What went wrong, for a program (`code`) and for a person (`message`)."""

    model_config = ConfigDict(frozen=True)

    code: ErrorCode
    message: str
    details: dict[str, Any] | None = None
    retryable: bool


class Meta(BaseModel):
    """What every answer carries; quote `request_id` when you report a fault."""

    model_config = ConfigDict(frozen=True)

    request_id: str
    timestamp: datetime


class Envelope(BaseModel, Generic[Data]):
    """`success` decides which of `data` and `error` is there."""

    model_config = ConfigDict(frozen=True)

    success: bool
    data: Data | None = None
    error: ErrorBody | None = None
    meta: Meta = Field(description="Who answered, when.")
