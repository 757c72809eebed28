"""
Choose a result's instances again: other thresholds, cap, smallest area or overlap.

The manifest keeps candidates that scored too low, down to a floor, so no model is needed, and the
answer is that of a new run with these options. There is one exception: a picture in tiles whose
first threshold was below the floor. Then candidates below the floor may have another contour, and
with over a thousand candidates `truncated` may be true too soon.
"""

from collections.abc import Mapping
from dataclasses import replace

from pydantic import ValidationError

from s3_sam3.contracts.bodies import RethresholdRequest
from s3_sam3.contracts.manifest import Manifest, PromptResult
from s3_sam3.contracts.prompts import SegmentOptions
from s3_sam3.imaging.choose import Found, choose


class RethresholdError(ValueError):
    """The manifest cannot answer the request."""


class BelowFloor(RethresholdError):
    """The manifest keeps no candidates that scored so low."""


class UnknownPrompt(RethresholdError):
    """The manifest has no such prompt."""


class UnfitOptions(RethresholdError):
    """The options contradict each other."""


def rethreshold(manifest: Manifest, request: RethresholdRequest) -> Manifest:
    """
    Choose the instances of *manifest* again; fields that *request* leaves out stay as they were.

    Raises:
        BelowFloor: a threshold is lower than what the manifest keeps.
        UnknownPrompt: a threshold names a prompt that the manifest does not have.
        UnfitOptions: more instances than a picture without tiles can have.

    """
    _check_ids(manifest, request.thresholds)
    options = _options(manifest.options, request)
    before = [_found(result) for result in manifest.prompts]
    after = [
        replace(one, threshold=request.thresholds.get(one.id, one.threshold)) for one in before
    ]
    for old, new in zip(before, after, strict=True):
        _check_floor(new.lowest(options), old.floor(manifest.options), new.id)
    return manifest.model_copy(update={"options": options, "prompts": choose(after, options)})


def _check_ids(manifest: Manifest, thresholds: Mapping[str, float]) -> None:
    known = [result.id for result in manifest.prompts]
    unknown = [id_ for id_ in thresholds if id_ not in known]
    if unknown:
        raise UnknownPrompt(
            f"This result has no prompt {_listed(unknown)}; it has {_listed(known)}."
        )


def _listed(ids: list[str]) -> str:
    return ", ".join(f"`{id_}`" for id_ in ids)


def _options(old: SegmentOptions, request: RethresholdRequest) -> SegmentOptions:
    """The options that a new run would be given."""
    changes = request.model_dump(exclude={"thresholds"}, exclude_none=True)
    try:
        return SegmentOptions.model_validate({**old.model_dump(), **changes})
    except ValidationError as error:
        raise UnfitOptions("; ".join(detail["msg"] for detail in error.errors())) from error


def _found(result: PromptResult) -> Found:
    """Everything that the manifest keeps of one prompt."""
    return Found(
        id=result.id,
        text=result.text,
        presence=result.presence,
        threshold=result.threshold,
        more=bool(result.more),
        candidates=result.instances + result.candidates,
    )


def _check_floor(threshold: float, floor: float, id_: str) -> None:
    if threshold < floor:
        raise BelowFloor(
            f"This result keeps what scored {floor:g} or more for prompt `{id_}`; for a threshold"
            f" of {threshold:g} submit the picture again with a `floor` as low."
        )
