"""Prompts, and the options of a segmentation."""

from enum import StrEnum
from typing import Annotated, Self

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, FiniteFloat, model_validator

from s3_sam3.contracts import limits


_XYXY = tuple[FiniteFloat, FiniteFloat, FiniteFloat, FiniteFloat]


def _has_area(xyxy: _XYXY) -> _XYXY:
    left, top, right, bottom = xyxy
    if not (0 <= left < right and 0 <= top < bottom):
        msg = "must be left < right and top < bottom, all at least 0"
        raise ValueError(msg)
    return xyxy


Rectangle = Annotated[_XYXY, AfterValidator(_has_area)]
"""Left, top, right, bottom in pixels of the upright original picture."""


class BoxLabel(StrEnum):
    """Whether a box shows an example of the concept, or of what to leave out."""

    POSITIVE = "positive"
    NEGATIVE = "negative"


class Box(BaseModel):
    """An exemplar: a box around one example."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    xyxy: Rectangle = Field(description="Left, top, right, bottom; pixels of the upright original.")
    label: BoxLabel = BoxLabel.POSITIVE


class Prompt(BaseModel):
    """One concept to find: a short noun phrase, exemplar boxes, or both."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    id: str | None = Field(
        default=None,
        min_length=1,
        max_length=64,
        description="Your name for it; the answer carries it. Default: `p0`, `p1`, …",
    )
    text: str | None = Field(default=None, description="A short noun phrase, at most 32 tokens.")
    boxes: Annotated[tuple[Box, ...], Field(max_length=limits.MAX_BOXES_PER_PROMPT)] = ()
    threshold: float | None = Field(
        default=None, ge=0, le=1, description="Score threshold of this prompt alone."
    )


class SegmentOptions(BaseModel):
    """What is searched and kept; the same in the public and in the internal contract."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    threshold: float = Field(
        default=limits.DEFAULT_SCORE_THRESHOLD, ge=0, le=1, description="Lowest score kept."
    )
    mask_threshold: float = Field(
        default=limits.DEFAULT_MASK_THRESHOLD,
        gt=0,
        lt=1,
        description="Probability from which a pixel counts.",
    )
    max_instances: int = Field(
        default=limits.MAX_INSTANCES,
        ge=1,
        le=limits.MAX_INSTANCES_TILED,
        description="Most instances kept per prompt, best first; over 200 needs `tiles`.",
    )
    min_area: int = Field(
        default=0,
        ge=0,
        le=limits.MAX_IMAGE_PIXELS,
        description="Pixels; smaller masks are dropped.",
    )
    nms: float | None = Field(
        default=None,
        gt=0,
        le=1,
        description="Overlap (IoU of masks) from which the worse of two instances is dropped,"
        " whichever prompts found them. Null: off.",
    )
    region: Rectangle | None = Field(
        default=None,
        description="xyxy, pixels of the upright original: only this part is searched.",
    )
    tiles: int = Field(
        default=1,
        ge=1,
        le=limits.MAX_TILES,
        description="n > 1: also search n x n overlapping tiles, for small or very many objects."
        " Each prompt then costs n x n + 1 credits.",
    )
    floor: float = Field(
        default=limits.DEFAULT_FLOOR,
        ge=0,
        le=1,
        description="Lowest score of candidates that the manifest keeps for a re-threshold.",
    )

    @model_validator(mode="after")
    def _many_need_tiles(self) -> Self:
        if self.tiles == 1 and self.max_instances > limits.MAX_INSTANCES:
            msg = f"max_instances over {limits.MAX_INSTANCES} needs tiles: one pass finds no more"
            raise ValueError(msg)
        return self

    @property
    def passes(self) -> int:
        """Passes of the model over the picture: one, or one for each tile and one for the whole."""
        return 1 if self.tiles == 1 else self.tiles**2 + 1


def with_ids(prompts: tuple[Prompt, ...]) -> tuple[Prompt, ...]:
    """Name each prompt without an id by its index: `p0`, `p1`, …"""
    return tuple(
        prompt if prompt.id else prompt.model_copy(update={"id": f"p{index}"})
        for index, prompt in enumerate(prompts)
    )
