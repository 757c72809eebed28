"""Checks weights: digests, names, shapes, types, numbers, tokenizer."""

from collections.abc import Iterator
from pathlib import Path

from ai.weights import contents, sums
from ai.weights.contents import Weight
from pipeline.errors import WeightsUnavailable
from pipeline.model import weights
from pipeline.model.weights import Checkpoint


def faults(path: Path) -> Iterator[str]:
    """
    Yield everything that is wrong with the weights at *path*, after cheap checks first.

    It reads all numbers, since a damaged one shows nowhere else.
    """
    try:
        checkpoint = weights.locate(path)
    except WeightsUnavailable as error:
        yield error.message
        return
    yield from sums.changed(checkpoint.folder, checkpoint.files)
    try:
        there = contents.headers(checkpoint)
    except Exception as error:  # noqa: BLE001 - a damaged file raises errors of many types
        yield f"The files cannot be read: {_first_line(error)}"
        return
    yield from _names_and_shapes(there, contents.expected(checkpoint))
    yield from _types(there)
    yield from _numbers(checkpoint)
    yield from _tokenizer(checkpoint)


def _names_and_shapes(there: dict[str, Weight], wanted: dict[str, Weight]) -> Iterator[str]:
    yield from contents.differences(there, wanted)
    for name in there.keys() & wanted.keys():
        if there[name].shape != wanted[name].shape:
            yield f"{name} has the shape {there[name].shape}, not {wanted[name].shape}"


def _types(there: dict[str, Weight]) -> Iterator[str]:
    """Expect one floating type for all; `num_batches_tracked` counts in integers."""
    kinds = {one.dtype for name, one in there.items() if not name.endswith("num_batches_tracked")}
    if len(kinds) > 1 or not kinds <= {"float32", "bfloat16", "float16"}:
        yield f"The weights are of the types {', '.join(sorted(kinds))}, not of one floating type"


def _numbers(checkpoint: Checkpoint) -> Iterator[str]:
    spoiled = [name for name, one in contents.tensors(checkpoint) if not one.isfinite().all()]
    if spoiled:
        yield f"{len(spoiled)} weights hold numbers that are not finite: {contents.listed(spoiled)}"


def _tokenizer(checkpoint: Checkpoint) -> Iterator[str]:
    """Expect that it opens, and has no more words than the text encoder."""
    from transformers import CLIPTokenizer

    try:
        tokenizer = CLIPTokenizer.from_pretrained(checkpoint.folder, local_files_only=True)
    except Exception as error:  # noqa: BLE001 - as above
        yield f"The tokenizer cannot be read: {_first_line(error)}"
        return
    known = contents.configuration(checkpoint).text_config.vocab_size
    if len(tokenizer) > known:
        yield f"The tokenizer has {len(tokenizer)} words, the text encoder knows {known}"


def _first_line(error: BaseException) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0]
