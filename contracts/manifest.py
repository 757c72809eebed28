"""The canonical result of a task; every other format is derived from it."""

from typing import Final, Literal

from pydantic import BaseModel, ConfigDict, Field


MANIFEST_VERSION: Final = 1
"""Raised when a field changes its meaning."""


class _Frozen(BaseModel):
    # A model_* name is a plain field here, not pydantic's namespace.
    model_config = ConfigDict(frozen=True, protected_namespaces=())


class Rle(_Frozen):
    """COCO run lengths: column-major, first run is background, counts compressed."""

    size: tuple[int, int] = Field(description="Height, width in pixels.")
    counts: str = Field(description="COCO's compressed run lengths (pycocotools).")


class Instance(_Frozen):
    """One found object."""

    label: int = Field(ge=1, description="Its number in `mask.png`, counted over all prompts.")
    score: float = Field(ge=0, le=1, description="Instance probability x presence.")
    box: tuple[float, float, float, float] = Field(
        description="xyxy, pixels of the upright original."
    )
    area: int = Field(ge=0, description="Pixels of the mask.")
    rle: Rle


class PromptResult(_Frozen):
    """What one prompt found, best first."""

    id: str
    text: str | None
    presence: float = Field(ge=0, le=1, description="Does the concept occur at all.")
    truncated: bool = Field(description="More instances passed the threshold than were kept.")
    instances: tuple[Instance, ...]


class ImageSize(_Frozen):
    """Pixels of the upright original."""

    width: int
    height: int


class ModelInfo(_Frozen):
    """Which model answered."""

    name: str = Field(description="`sam3`, or `tiny` for the demo model.")
    revision: str = Field(description="First 12 hex digits of the sha256 of the weights file.")
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
    prompts: tuple[PromptResult, ...]

    @property
    def instance_count(self) -> int:
        """Instances over all prompts."""
        return sum(len(prompt.instances) for prompt in self.prompts)
