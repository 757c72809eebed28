"""What the files of a checkpoint hold, by transformers' names, whichever layout they have."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import torch
from safetensors import safe_open

from pipeline.model import meta_checkpoint
from pipeline.model.weights import Checkpoint


#: Of a video checkpoint the detector is meant; its names carry this, and the rest is left out.
_DETECTOR: Final = "detector_model."
_TRACKER: Final = ("tracker_model.", "tracker_neck.")

#: safetensors' names of types -> torch's.
_TYPES: Final = {"F64": "float64", "F32": "float32", "BF16": "bfloat16", "F16": "float16"}


@dataclass(frozen=True, slots=True)
class Weight:
    """Shape and type of one weight, without its numbers."""

    shape: tuple[int, ...]
    dtype: str
    """As torch says it: `float32`."""

    @property
    def count(self) -> int:
        """How many numbers it has."""
        return torch.Size(self.shape).numel()


def headers(checkpoint: Checkpoint) -> dict[str, Weight]:
    """
    Name every weight that is there; its numbers are not read.

    Raises whatever the file's reader thinks of a damaged one.
    """
    if all(path.suffix == ".safetensors" for path in checkpoint.files):
        return dict(_safetensors_headers(checkpoint.files))
    return {name: _of(one) for name, one in tensors(checkpoint)}


def _safetensors_headers(files: Iterable[Path]) -> Iterator[tuple[str, Weight]]:
    """Read the beginnings of these files."""
    for path in files:
        with safe_open(path, framework="pt") as content:
            for name in filter(_is_detectors, content.keys()):
                part = content.get_slice(name)
                kind = part.get_dtype()
                yield _plain(name), Weight(tuple(part.get_shape()), _TYPES.get(kind, kind))


def tensors(checkpoint: Checkpoint) -> Iterator[tuple[str, torch.Tensor]]:
    """Give every weight, one after the other. Raises as `headers`."""
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
    """Whether a weight is used on pictures."""
    return not name.startswith(_TRACKER)


def _plain(name: str) -> str:
    """A detector's name as it is alone."""
    return name.removeprefix(_DETECTOR)


def _of(weight: torch.Tensor) -> Weight:
    """Shape and type of a tensor."""
    return Weight(tuple(weight.shape), str(weight.dtype).removeprefix("torch."))


def expected(checkpoint: Checkpoint) -> dict[str, Weight]:
    """Name every weight that the configuration asks for; nothing is allocated."""
    with torch.device("meta"):
        model = checkpoint.backend.model_class()(configuration(checkpoint))
    return {name: _of(one) for name, one in model.state_dict().items()}


def configuration(checkpoint: Checkpoint) -> Any:
    """Read config.json; Meta's file may lie without one, and then it is SAM3's own size."""
    from transformers import AutoConfig

    if not (checkpoint.folder / "config.json").is_file():
        return checkpoint.backend.config_class()()
    config = AutoConfig.from_pretrained(checkpoint.folder, local_files_only=True)
    return getattr(config, "detector_config", config)


def differences(there: Iterable[str], wanted: Iterable[str]) -> list[str]:
    """Say which names are missing and which nobody knows, one sentence each."""
    missing, unknown = set(wanted) - set(there), set(there) - set(wanted)
    said = []
    if missing:
        said.append(f"{len(missing)} weights are missing: {listed(missing)}")
    if unknown:
        said.append(f"{len(unknown)} weights are unknown: {listed(unknown)}")
    return said


def listed(names: Iterable[str], most: int = 3) -> str:
    """Write down the first few names, and how many more there are."""
    every = sorted(names)
    more = f" and {len(every) - most} more" if len(every) > most else ""
    return ", ".join(every[:most]) + more
