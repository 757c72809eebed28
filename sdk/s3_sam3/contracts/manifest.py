"""The canonical result of a task; every other format is derived from it."""

from typing import Final, Literal

from pydantic import BaseModel, ConfigDict, Field

from s3_sam3.contracts.prompts import SegmentOptions


MANIFEST_VERSION: Final = 1
"""Raised when a field changes its meaning."""


class _Frozen(BaseModel):
    # A model_* name is a plain field here, not pydantic's namespace.
    model_config = ConfigDict(frozen=True, protected_namespaces=())


class Rle(_Frozen):
    """COCO run lengths: column-major, first run is background, counts compressed."""

    size: tuple[int, int] = Field(description="Height, width in pixels.")
    counts: str = Field(description="COCO's compressed run lengths (pycocotools).")


class Candidate(_Frozen):
    """Something found that may be an object."""

    score: float = Field(ge=0, le=1, description="Instance probability x presence.")
    box: tuple[float, float, float, float] = Field(
        description="xyxy, pixels of the upright original."
    )
    area: int = Field(ge=0, description="Pixels of the mask.")
    rle: Rle


class Instance(Candidate):
    """One found object."""

    label: int = Field(ge=1, description="Its number in `mask.png`, counted over all prompts.")


class PromptResult(_Frozen):
    """What one prompt found, best first."""

    id: str
    text: str | None
    presence: float = Field(ge=0, le=1, description="Does the concept occur at all.")
    truncated: bool = Field(description="More instances passed the threshold than were kept.")
    threshold: float | None = Field(
        default=None, ge=0, le=1, description="This prompt's own; null: the options' one."
    )
    more: bool | None = Field(
        default=None,
        description="There was more over the `floor` than is kept, and it scores no better than"
        " the worst of what is; null: not noted.",
    )
    instances: tuple[Instance, ...]
    candidates: tuple[Candidate, ...] = Field(
        default=(),
        description="What scored at least the `floor` and is no instance, best first: material"
        " for a re-threshold.",
    )


class ImageSize(_Frozen):
    """Pixels of the upright original."""

    width: int
    height: int
    frames: int = Field(
        default=1, ge=1, description="Frames in the file; only the first was looked at."
    )


class ModelInfo(_Frozen):
    """Which model answered."""

    name: str = Field(description="`sam3`, or `tiny` for the demo model.")
    revision: str = Field(description="First 12 hex digits of the sha256 of the weights file.")
    backend: str = Field(
        default="sam3", description="The model's code: `sam3` or `sam3_lite_text`."
    )
    dtype: str = Field(description="`float32` or `bfloat16`.")
    device: str
    code_version: str
    demo: bool = Field(description="True: the tiny demo model, which knows a few dozen words.")
    memory_mb: int = Field(default=0, ge=0, description="The GPU's memory in MiB; 0 on a CPU.")


class Timings(_Frozen):
    """Milliseconds inside the pipeline."""

    decode_ms: float
    model_ms: float
    post_ms: float
    total_ms: float


class Manifest(_Frozen):
    """The one canonical result."""

    version: Literal[1] = MANIFEST_VERSION
    image: ImageSize
    model: ModelInfo
    timings: Timings
    options: SegmentOptions = Field(
        default=SegmentOptions(), description="The options that were applied."
    )
    prompts: tuple[PromptResult, ...]

    @property
    def instance_count(self) -> int:
        """Instances over all prompts."""
        return sum(len(prompt.instances) for prompt in self.prompts)
