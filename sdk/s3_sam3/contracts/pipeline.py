"""
The internal contract: what the listener asks of the pipeline, and what comes back.

`POST /api/v1/predict` takes a form (multipart/form-data) of a picture and a `PredictRequest`. It
answers with a form as well: the manifest as JSON and the two pictures drawn from it.
"""

from enum import StrEnum
from typing import Annotated, Final

from pydantic import BaseModel, ConfigDict, Field, field_validator

from s3_sam3.contracts import limits
from s3_sam3.contracts.manifest import ModelInfo
from s3_sam3.contracts.prompts import Prompt, SegmentOptions, with_ids


API_KEY_HEADER: Final = "X-API-Key"
"""Carries `API_SECRET_KEY`; compared in constant time."""

IMAGE_PART: Final = "image"
"""Part of the request: the picture's bytes."""

REQUEST_PART: Final = "request"
"""Part of the request: a PredictRequest as JSON."""

MANIFEST_PART: Final = "manifest"
"""Part of the answer: a Manifest as JSON, the bytes that are stored as `manifest.json`."""

MASK_PART: Final = "mask"
"""Part of the answer: the label map, 0 background, n = instance n. Absent without `pictures`."""

OVERLAY_PART: Final = "overlay"
"""Part of the answer: the picture with coloured masks. Absent without `pictures`."""

ANSWER_TYPES: Final = {
    MANIFEST_PART: "application/json",
    MASK_PART: "image/png",
    OVERLAY_PART: "image/webp",
}
"""The answer's parts and their media types."""

REQUEST_ID_HEADER: Final = "X-Request-Id"
"""Names a request, so that `GET /api/v1/progress/{id}` can tell how far it is."""


class Health(StrEnum):
    """What the model process says of itself at `GET /health`, always with 200."""

    STARTING = "starting"
    READY = "ready"
    BUSY = "busy"
    SETUP_FAILED = "setup_failed"
    DEFUNCT = "defunct"


class HealthAnswer(BaseModel):
    """The body of `GET /health`."""

    model_config = ConfigDict(frozen=True, protected_namespaces=())

    status: Health
    reason: str | None = Field(default=None, description="Why setup failed; what to do.")
    model: ModelInfo | None = None


class PredictRequest(BaseModel):
    """What to find in the picture of the same form."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    prompts: Annotated[
        tuple[Prompt, ...], Field(min_length=1, max_length=limits.MAX_PROMPTS_PER_TASK)
    ]
    options: SegmentOptions = SegmentOptions()
    scope: str = Field(
        default="",
        max_length=64,
        description="Whose picture it is, in any words: what the model saw of a picture is"
        " remembered for its scope alone.",
    )
    frugal: bool = Field(
        default=False,
        description="Drop what is remembered, then take prompts and masks one by one: for a"
        " second try after `out_of_memory`.",
    )
    seconds: float | None = Field(
        default=None,
        gt=0,
        description="Give up with `deadline_exceeded` when it is not done by then; asked between"
        " batches of prompts.",
    )
    pictures: bool = Field(
        default=True, description="Draw label map and overlay; false: the manifest alone."
    )

    @field_validator("prompts")
    @classmethod
    def _ids_differ(cls, prompts: tuple[Prompt, ...]) -> tuple[Prompt, ...]:
        """Results are told apart by them, those of prompts without one by their places."""
        if len({prompt.id for prompt in with_ids(prompts)}) < len(prompts):
            msg = "the ids of prompts must differ"
            raise ValueError(msg)
        return prompts


class PredictProgress(BaseModel):
    """How far a request is that is under way."""

    model_config = ConfigDict(frozen=True)

    computed: int = Field(ge=0, description="Prompts that the model is done with.")
