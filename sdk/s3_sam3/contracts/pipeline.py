"""The internal contract: what the listener asks of the pipeline, and what comes back."""

from enum import StrEnum
from typing import Annotated, Final

from pydantic import BaseModel, ConfigDict, Field, field_validator

from s3_sam3.contracts import limits
from s3_sam3.contracts.manifest import Manifest, ModelInfo
from s3_sam3.contracts.prompts import Prompt, SegmentOptions, with_ids


API_KEY_HEADER: Final = "X-API-Key"
"""Carries `API_SECRET_KEY`; compared in constant time."""

IMAGE_PART: Final = "image"
"""Form part with the picture's bytes; `POST /api/v1/predict` is multipart/form-data."""

REQUEST_PART: Final = "request"
"""Form part with a PredictRequest as JSON."""

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
        default=True, description="Draw `mask_png` and `overlay_webp`; false: the manifest alone."
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


class PredictAnswer(BaseModel):
    """
    The manifest and the two pictures.

    The pictures travel in the same answer, base64 in JSON, so that one request is one result.
    """

    model_config = ConfigDict(frozen=True, ser_json_bytes="base64", val_json_bytes="base64")

    manifest: Manifest
    mask_png: bytes = Field(
        default=b"", description="Label map: 0 background, n = instance n; base64."
    )
    overlay_webp: bytes = Field(default=b"", description="The picture with coloured masks; base64.")
