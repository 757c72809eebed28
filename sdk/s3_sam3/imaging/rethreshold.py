"""
Cut a result anew: other thresholds, another cap, another smallest area, another overlap.

The manifest keeps what scored too low, down to a floor, so this takes no model and no GPU, and the
answer is the one that a fresh run with these options would give. One case is excepted: tiles were
looked at, and the first threshold was under the floor. Then what scores under the floor may have
another outline, and where over a thousand candidates were found `truncated` may be told too soon.
"""

from collections.abc import Mapping
from dataclasses import replace

from pydantic import ValidationError

from s3_sam3.contracts.bodies import RethresholdRequest
from s3_sam3.contracts.manifest import Manifest, PromptResult
from s3_sam3.contracts.prompts import SegmentOptions
from s3_sam3.imaging.choose import Found, choose


class RethresholdError(ValueError):
    """A result cannot be cut so."""


class BelowFloor(RethresholdError):
    """The manifest keeps nothing that scored so low."""


class UnknownPrompt(RethresholdError):
    """The manifest has no such prompt."""


class UnfitOptions(RethresholdError):
    """The options do not fit together."""


def rethreshold(manifest: Manifest, request: RethresholdRequest) -> Manifest:
    """
    Choose the instances of *manifest* anew; what *request* leaves out stays as it was asked first.

    Raises:
        BelowFloor: a threshold is lower than what the manifest keeps.
        UnknownPrompt: a threshold is meant for a prompt that the manifest does not have.
        UnfitOptions: more instances than a picture that was looked at once can have.

    """
    _check_ids(manifest, request.thresholds)
    manifest = _with_options(manifest)
    options = _options(manifest.options, request)
    before = [_found(result, manifest.options) for result in manifest.prompts]
    after = [
        replace(one, threshold=request.thresholds.get(one.id, one.threshold)) for one in before
    ]
    for old, new in zip(before, after, strict=True):
        _check_floor(new.lowest(options), old.floor(manifest.options), new.id)
    return manifest.model_copy(update={"options": options, "prompts": choose(after, options)})


def _check_ids(manifest: Manifest, thresholds: Mapping[str, float]) -> None:
    """Refuse thresholds for prompts that nobody asked."""
    known = [result.id for result in manifest.prompts]
    unknown = [id_ for id_ in thresholds if id_ not in known]
    if unknown:
        raise UnknownPrompt(
            f"This result has no prompt {_listed(unknown)}; it has {_listed(known)}."
        )


def _listed(ids: list[str]) -> str:
    """Quote names for a sentence."""
    return ", ".join(f"`{id_}`" for id_ in ids)


def _options(old: SegmentOptions, request: RethresholdRequest) -> SegmentOptions:
    """The options that a fresh run would be asked with."""
    asked = request.model_dump(exclude={"thresholds"}, exclude_none=True)
    try:
        return SegmentOptions.model_validate({**old.model_dump(), **asked})
    except ValidationError as error:
        raise UnfitOptions("; ".join(detail["msg"] for detail in error.errors())) from error


def _found(result: PromptResult, options: SegmentOptions) -> Found:
    """Everything that the manifest keeps of one prompt."""
    return Found(
        id=result.id,
        text=result.text,
        presence=result.presence,
        threshold=result.threshold,
        more=_had_more(result, options) if result.more is None else result.more,
        candidates=result.instances + result.candidates,
    )


def _had_more(result: PromptResult, options: SegmentOptions) -> bool:
    """Guess what older manifests do not note: short of the cap and yet truncated."""
    return result.truncated and len(result.instances) < options.max_instances


def _with_options(manifest: Manifest) -> Manifest:
    """Complete a manifest written before options and candidates were kept: it is what it has."""
    if "options" in manifest.model_fields_set:
        return manifest
    scores = [one.score for result in manifest.prompts for one in result.instances]
    lowest = min(scores, default=manifest.options.threshold)
    options = SegmentOptions(threshold=lowest, floor=lowest)
    return manifest.model_copy(update={"options": options})


def _check_floor(threshold: float, floor: float, id_: str) -> None:
    """Refuse to answer what the manifest cannot know."""
    if threshold < floor:
        raise BelowFloor(
            f"This result keeps what scored {floor:g} or more for prompt `{id_}`; for a threshold"
            f" of {threshold:g} submit the picture again with a `floor` as low."
        )
