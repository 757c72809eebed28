"""The public bodies of requests and answers, shared with the SDK."""

from datetime import datetime
from typing import Annotated, Any, Generic, Literal, Self, TypeVar
from uuid import UUID

from pydantic import BaseModel, ConfigDict, Field, model_validator

from s3_sam3.contracts import limits
from s3_sam3.contracts.errors import ErrorCode
from s3_sam3.contracts.manifest import Manifest
from s3_sam3.contracts.prompts import Prompt, SegmentOptions
from s3_sam3.contracts.tasks import MediaKind, TaskStatus, UsageAction, UserTier


Data = TypeVar("Data")


class Answer(BaseModel):
    """What the API sends. Unknown fields are ignored: an old client can read a newer server."""

    model_config = ConfigDict(frozen=True)


class Request(BaseModel):
    """What a client sends. Unknown fields are refused, so a misspelt one is noticed."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class ErrorBody(Answer):
    """What went wrong, for a program (`code`) and for a person (`message`)."""

    code: ErrorCode
    message: str
    details: dict[str, Any] | None = None
    retryable: bool


class Meta(Answer):
    """What every answer carries; quote `request_id` when you report a fault."""

    request_id: str
    timestamp: datetime


class Envelope(Answer, Generic[Data]):
    """`success` decides which of `data` and `error` is there."""

    success: bool
    data: Data | None = None
    error: ErrorBody | None = None
    meta: Meta = Field(description="Who answered, when.")


class Upload(Answer):
    """An uploaded picture."""

    image_url: str = Field(description="The object's key; give it to `POST /api/v1/segment`.")
    kind: MediaKind
    content_type: str
    width: int = Field(description="Pixels, EXIF orientation applied.")
    height: int = Field(description="Pixels, EXIF orientation applied.")
    bytes: int
    sha256: str


class Needs(Request):
    """What a machine must have to be given the task; by default nothing."""

    # A model_* name is a plain field here, not pydantic's namespace.
    model_config = ConfigDict(protected_namespaces=())

    model_revision: str | None = Field(
        default=None,
        min_length=1,
        max_length=limits.MAX_MODEL_REVISION_CHARACTERS,
        description="Exactly this model, as the manifest names it.",
    )
    dtype: Literal["fp32", "bf16", "fp16"] | None = Field(
        default=None, description="`fp32`, `bf16` or `fp16`."
    )
    memory_mb: int | None = Field(
        default=None,
        ge=1,
        le=limits.MAX_NEEDED_MEMORY_MB,
        description="At least so much GPU memory, in MiB.",
    )


class TaskNeeds(Needs):
    """The needs of the request, and what the service found out itself."""

    model_config = ConfigDict(extra="ignore")

    pixels: int | None = Field(default=None, description="Width x height of the picture.")


class SegmentRequest(SegmentOptions):
    """One picture, 1-16 prompts. `text_prompt` is the short form of one text prompt."""

    image_url: str = Field(min_length=1, max_length=512)
    text_prompt: str | None = None
    prompts: Annotated[tuple[Prompt, ...], Field(max_length=limits.MAX_PROMPTS_PER_TASK)] = ()
    project_id: UUID | None = None
    deadline_seconds: int | None = Field(
        default=None,
        ge=1,
        le=limits.MAX_DEADLINE_SECONDS,
        description="Not begun after that: `cancelled` with `expired`, nothing charged.",
    )
    needs: Needs | None = None

    @model_validator(mode="after")
    def _one_form(self) -> Self:
        if self.text_prompt is not None and self.prompts:
            msg = "send text_prompt or prompts, not both"
            raise ValueError(msg)
        if self.text_prompt is None and not self.prompts:
            msg = "send text_prompt or prompts"
            raise ValueError(msg)
        return self

    @property
    def all_prompts(self) -> tuple[Prompt, ...]:
        """The prompts in their long form."""
        return self.prompts or (Prompt(text=self.text_prompt),)


_Share = Annotated[float, Field(ge=0, le=1)]


class RethresholdRequest(Request):
    """Other thresholds for a stored result. An absent field keeps the value of the task."""

    threshold: float | None = Field(
        default=None, ge=0, le=1, description="Lowest score kept; at least the task's `floor`."
    )
    thresholds: Annotated[
        dict[str, _Share],
        Field(
            max_length=limits.MAX_PROMPTS_PER_TASK, description="Prompt id -> its own threshold."
        ),
    ] = {}
    max_instances: int | None = Field(default=None, ge=1, le=limits.MAX_INSTANCES_TILED)
    min_area: int | None = Field(default=None, ge=0, le=limits.MAX_IMAGE_PIXELS)
    nms: float | None = Field(
        default=None, gt=0, le=1, description="As in `SegmentOptions`; absent: as in the task."
    )


class Rethresholded(Answer):
    """A result under other thresholds. The stored one stays as it is."""

    task_id: UUID
    manifest: Manifest


class TaskError(Answer):
    """Why a task failed, expired or waits."""

    code: ErrorCode
    message: str
    retryable: bool


class Task(Answer):
    """A task's state."""

    task_id: UUID
    status: TaskStatus
    progress: float = Field(ge=0, le=1)
    queue_position: int | None = Field(
        default=None,
        description="While pending: tasks in front of it, counted up to 1,000; 0 is next.",
    )
    eta_seconds: int | None = Field(
        default=None,
        description="While pending: about how long until it ends; null: not known.",
    )
    blocked_by: TaskError | None = Field(
        default=None, description="While pending: why no machine can start it now."
    )
    credits: int = Field(description="Its price, held until it is final.")
    credits_charged: int | None = Field(
        default=None, description="Credits that it cost in the end; the rest came back."
    )
    attempt_count: int
    error: TaskError | None = Field(
        default=None, description="Of a failed task, and of one that expired."
    )
    created_at: datetime
    expires_at: datetime | None = Field(
        default=None, description="Still pending by then: `cancelled`, nothing charged."
    )
    started_at: datetime | None = None
    finished_at: datetime | None = None


class Result(Task):
    """A task with its request and, when `done`, what was found."""

    project_id: UUID | None = None
    image_url: str
    text_prompt: str | None = None
    prompts: tuple[Prompt, ...]
    options: SegmentOptions
    needs: TaskNeeds = TaskNeeds()
    instance_count: int | None = None
    summary: dict[str, Any] | None = Field(
        default=None, description="Instances per prompt, model, timings."
    )


class ResultDetail(Result):
    """One result with short-lived download URLs (15 minutes)."""

    source_download_url: str | None = None
    manifest_download_url: str | None = None
    mask_download_url: str | None = None
    overlay_download_url: str | None = None


class ResultPage(Answer):
    """A page of results, newest first."""

    items: tuple[Result, ...]
    next_cursor: str | None = Field(
        default=None, description="Give it as `cursor` for the next page; null at the end."
    )


class ProjectRequest(Request):
    """A project's name."""

    name: str = Field(min_length=1, max_length=120)


class Project(Answer):
    """A folder for results."""

    id: UUID
    name: str
    created_at: datetime
    updated_at: datetime


class ProjectList(Answer):
    """All projects of the caller, newest first."""

    items: tuple[Project, ...]


class Me(Answer):
    """The caller, with tier and credits."""

    user_id: UUID
    email: str | None = None
    tier: UserTier
    credits: int = Field(description="Free to spend, without those on hold.")


class UsageEntry(Answer):
    """One row of the credit ledger."""

    id: int
    action: UsageAction
    credits_used: int = Field(
        description="Never negative; the action says whether they come or go."
    )
    result_id: UUID | None = None
    created_at: datetime


class UsagePage(Answer):
    """A page of the ledger, newest first."""

    items: tuple[UsageEntry, ...]
    next_cursor: str | None = None


class Deleted(Answer):
    """What was deleted."""

    id: UUID
