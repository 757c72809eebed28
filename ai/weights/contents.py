"""What the files of a checkpoint hold, under transformers' names, in either layout."""

from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import torch
from safetensors import safe_open

from pipeline.model import meta_checkpoint
from pipeline.model.weights import LITE_TEXT, SAM3, Checkpoint


#: Prefixes in a video checkpoint, of which only the detector is used.
_DETECTOR: Final = "detector_model."
_TRACKER: Final = ("tracker_model.", "tracker_neck.")

#: safetensors' names of types -> torch's.
_TYPES: Final = {"F64": "float64", "F32": "float32", "BF16": "bfloat16", "F16": "float16"}


_LICENCES: Final = {
    SAM3.name: "Meta's SAM License (facebook/sam3 is gated: accept it there; it binds copies too)",
    LITE_TEXT.name: "a derivative of SAM3: Meta's SAM License, and what its repository adds",
}

_TINY: Final = "none to accept: trained on this machine, on drawn shapes, by this repository"


@dataclass(frozen=True, slots=True)
class Weight:
    """Shape and type of one weight."""

    shape: tuple[int, ...]
    dtype: str
    """As torch says it: `float32`."""

    @property
    def count(self) -> int:
        """Numbers in it."""
        return torch.Size(self.shape).numel()


def headers(checkpoint: Checkpoint) -> dict[str, Weight]:
    """
    Give every weight by name, without reading its numbers.

    Raises what the reader of its format raises on a damaged file.
    """
    if all(path.suffix == ".safetensors" for path in checkpoint.files):
        return dict(_safetensors_headers(checkpoint.files))
    return {name: _of(one) for name, one in tensors(checkpoint)}


def _safetensors_headers(files: Iterable[Path]) -> Iterator[tuple[str, Weight]]:
    for path in files:
        with safe_open(path, framework="pt") as content:
            for name in filter(_is_detectors, content.keys()):
                part = content.get_slice(name)
                kind = part.get_dtype()
                yield _plain(name), Weight(tuple(part.get_shape()), _TYPES.get(kind, kind))


def tensors(checkpoint: Checkpoint) -> Iterator[tuple[str, torch.Tensor]]:
    """Read every weight, one after the other. Raises as `headers`."""
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


def expected(checkpoint: Checkpoint) -> dict[str, Weight]:
    """Give every weight that the configuration asks for by name; allocates nothing."""
    with torch.device("meta"):
        model = checkpoint.backend.model_class()(configuration(checkpoint))
    return {name: _of(one) for name, one in model.state_dict().items()}


def configuration(checkpoint: Checkpoint) -> Any:
    """Read config.json; without one beside Meta's file, give SAM3's own size."""
    from transformers import AutoConfig

    if not (checkpoint.folder / "config.json").is_file():
        return checkpoint.backend.config_class()()
    config = AutoConfig.from_pretrained(checkpoint.folder, local_files_only=True)
    return getattr(config, "detector_config", config)


def differences(there: Iterable[str], wanted: Iterable[str]) -> list[str]:
    """Say which names are missing and which are unknown, one sentence each."""
    missing, unknown = set(wanted) - set(there), set(there) - set(wanted)
    said = []
    if missing:
        said.append(f"{len(missing)} weights are missing: {listed(missing)}")
    if unknown:
        said.append(f"{len(unknown)} weights are unknown: {listed(unknown)}")
    return said


def listed(names: Iterable[str], most: int = 3) -> str:
    """List the first few names, and say how many more there are."""
    every = sorted(names)
    more = f" and {len(every) - most} more" if len(every) > most else ""
    return ", ".join(every[:most]) + more


def describe(checkpoint: Checkpoint) -> dict[str, str | int | bool]:
    """Give the facts about a checkpoint: kind, parameters, type, revision, size, licence."""
    there = headers(checkpoint)
    kinds = Counter(one.dtype for one in there.values())
    return {
        "model_type": checkpoint.backend.name,
        "layout": "Meta's sam3.pt" if checkpoint.meta else "transformers",
        "demo": checkpoint.demo,
        "parameters": sum(one.count for one in there.values()),
        "weights": len(there),
        "dtype": kinds.most_common(1)[0][0] if kinds else "none",
        "revision": checkpoint.revision(),
        "bytes": sum(file.stat().st_size for file in checkpoint.files),
        "files": ", ".join(file.name for file in checkpoint.files),
        "picture_side": int(configuration(checkpoint).image_size),
        "licence": _TINY if checkpoint.demo else _LICENCES[checkpoint.backend.name],
    }
