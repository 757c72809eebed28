"""Checks weights: digests, names, shapes, types, numbers, tokenizer."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import torch
from safetensors import safe_open

from pipeline.errors import WeightsUnavailable
from pipeline.model import meta_checkpoint, weights
from pipeline.model.weights import Checkpoint


#: Digests, kept beside the weights; `sha256sum --check SHA256SUMS` reads the file too.
SUMS_FILE: Final = "SHA256SUMS"

#: Prefixes in a video checkpoint, of which only the detector is used.
_DETECTOR: Final = "detector_model."
_TRACKER: Final = ("tracker_model.", "tracker_neck.")


@dataclass(frozen=True, slots=True)
class Weight:
    """Shape and type of one weight; the type as torch says it: `float32`."""

    shape: tuple[int, ...]
    dtype: str


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
    yield from _changed(checkpoint)
    try:
        there = {name: _of(one) for name, one in _tensors(checkpoint)}
    except Exception as error:  # noqa: BLE001 - a damaged file raises errors of many types
        yield f"The files cannot be read: {weights.first_line(error)}"
        return
    yield from _names_and_shapes(there, _expected(checkpoint))
    yield from _types(there)
    yield from _numbers(checkpoint)
    yield from _tokenizer(checkpoint)


def noted(folder: Path) -> dict[str, str]:
    """Read the digests in *folder*'s SHA256SUMS by file name; none where there is no such file."""
    try:
        lines = (folder / SUMS_FILE).read_text().splitlines()
    except FileNotFoundError:
        return {}
    pairs = (line.split(maxsplit=1) for line in lines if line.strip())
    return {name.lstrip("*"): wanted for wanted, name in pairs}


def note(folder: Path, digests: dict[str, str]) -> None:
    """Write digests of files in *folder* into SHA256SUMS, beside those that are there."""
    known = noted(folder) | digests
    lines = [f"{known[name]}  {name}\n" for name in sorted(known)]
    (folder / SUMS_FILE).write_text("".join(lines))


def _changed(checkpoint: Checkpoint) -> Iterator[str]:
    known = noted(checkpoint.folder)
    for path in checkpoint.files:
        wanted = known.get(path.name)
        if wanted is not None and (found := weights.digest(path).hex()) != wanted:
            yield (
                f"{path.name} has the sha256 {found[:12]}…, but {SUMS_FILE} says {wanted[:12]}…:"
                " it was changed or damaged"
            )


def _tensors(checkpoint: Checkpoint) -> Iterator[tuple[str, torch.Tensor]]:
    """
    Read every weight, one after the other.

    Raises what the reader of its format raises on a damaged file.
    """
    if checkpoint.meta:
        yield from meta_checkpoint.read(checkpoint.files[0]).items()
        return
    for path in checkpoint.files:
        if path.suffix == ".safetensors":
            with safe_open(path, framework="pt") as content:
                for name in filter(_is_detectors, content.keys()):
                    yield _plain(name), content.get_tensor(name)
        else:
            loaded = torch.load(path, map_location="cpu", weights_only=True, mmap=True)
            for name in filter(_is_detectors, loaded):
                yield _plain(name), loaded[name]


def _is_detectors(name: str) -> bool:
    return not name.startswith(_TRACKER)


def _plain(name: str) -> str:
    return name.removeprefix(_DETECTOR)


def _of(weight: torch.Tensor) -> Weight:
    return Weight(tuple(weight.shape), str(weight.dtype).removeprefix("torch."))


def _expected(checkpoint: Checkpoint) -> dict[str, Weight]:
    """Give every weight that the configuration asks for by name; allocates nothing."""
    with torch.device("meta"):
        model = checkpoint.backend.model_class()(_configuration(checkpoint))
    return {name: _of(one) for name, one in model.state_dict().items()}


def _configuration(checkpoint: Checkpoint) -> Any:
    """Of a video model, only the detector's part."""
    config = weights.configuration(checkpoint)
    return getattr(config, "detector_config", config)


def _names_and_shapes(there: dict[str, Weight], wanted: dict[str, Weight]) -> Iterator[str]:
    if missing := wanted.keys() - there.keys():
        yield f"{len(missing)} weights are missing: {_listed(missing)}"
    if unknown := there.keys() - wanted.keys():
        yield f"{len(unknown)} weights are unknown: {_listed(unknown)}"
    for name in there.keys() & wanted.keys():
        if there[name].shape != wanted[name].shape:
            yield f"{name} has the shape {there[name].shape}, not {wanted[name].shape}"


def _types(there: dict[str, Weight]) -> Iterator[str]:
    """Expect one floating type for all; `num_batches_tracked` counts in integers."""
    kinds = {one.dtype for name, one in there.items() if not name.endswith("num_batches_tracked")}
    if len(kinds) > 1 or not kinds <= {"float32", "bfloat16", "float16"}:
        yield f"The weights are of the types {', '.join(sorted(kinds))}, not of one floating type"


def _numbers(checkpoint: Checkpoint) -> Iterator[str]:
    spoiled = [name for name, one in _tensors(checkpoint) if not one.isfinite().all()]
    if spoiled:
        yield f"{len(spoiled)} weights hold numbers that are not finite: {_listed(spoiled)}"


def _tokenizer(checkpoint: Checkpoint) -> Iterator[str]:
    """Expect that it opens, and has no more words than the text encoder."""
    from transformers import CLIPTokenizer

    try:
        tokenizer = CLIPTokenizer.from_pretrained(checkpoint.folder, local_files_only=True)
    except Exception as error:  # noqa: BLE001 - as above
        yield f"The tokenizer cannot be read: {weights.first_line(error)}"
        return
    known = _configuration(checkpoint).text_config.vocab_size
    if len(tokenizer) > known:
        yield f"The tokenizer has {len(tokenizer)} words, the text encoder knows {known}"


def _listed(names: Iterable[str], most: int = 3) -> str:
    """List the first few names, and say how many more there are."""
    every = sorted(names)
    more = f" and {len(every) - most} more" if len(every) > most else ""
    return ", ".join(every[:most]) + more
