"""
Convert between Meta's `sam3.pt` and a folder in transformers' layout, bit by bit.

Only the detector is converted: transformers' SAM3 for pictures has no tracker. Names and shapes are
checked before anything is written, since the loaders of both sides fill gaps silently.
"""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Final

import torch
from safetensors.torch import save_file

from ai.weights import contents, sums
from ai.weights.to_meta import to_meta
from pipeline.errors import PipelineError
from pipeline.model import meta_checkpoint, weights
from pipeline.model.weights import SAM3, Checkpoint


class NotConvertible(PipelineError):
    """These weights cannot be converted; the message says why."""


#: Files beside the weights that both layouts need.
_TOKENIZER: Final = (
    "tokenizer.json",
    "tokenizer_config.json",
    "special_tokens_map.json",
    "vocab.json",
    "merges.txt",
)

_SAFETENSORS: Final = "model.safetensors"


def convert(source: Path, target: Path) -> Path:
    """
    Write *source* in the other layout and give the file that was written.

    Meta's file becomes a folder *target*; a folder becomes Meta's file *target* (`*.pt`).

    Raises:
        NotConvertible: unknown or missing weights, other shapes, or *target* is there already.
        WeightsUnavailable: *source* holds no weights.

    """
    checkpoint = weights.locate(source)
    if checkpoint.backend is not SAM3:
        message = f"Meta's layout holds SAM3 only, not {checkpoint.backend.name}."
        raise NotConvertible(message)
    state = dict(contents.tensors(checkpoint))
    _check(checkpoint, state)
    if checkpoint.meta:
        return _write_folder(checkpoint, state, target)
    return _write_meta(state, target)


def _check(checkpoint: Checkpoint, state: dict[str, torch.Tensor]) -> None:
    """Compare what was read with what the configuration asks for."""
    wanted = contents.expected(checkpoint)
    said = contents.differences(state, wanted)
    said += [
        f"{name} has the shape {tuple(one.shape)}, not {wanted[name].shape}"
        for name, one in state.items()
        if name in wanted and tuple(one.shape) != wanted[name].shape
    ]
    if said:
        message = f"{checkpoint.folder}: {'; '.join(said[:3])}."
        raise NotConvertible(message)


def _write_folder(checkpoint: Checkpoint, state: dict[str, torch.Tensor], target: Path) -> Path:
    if target.suffix in {".pt", ".pth"} or (target / _SAFETENSORS).exists():
        message = f"{target} must be a folder without weights in it."
        raise NotConvertible(message)
    target.mkdir(parents=True, exist_ok=True)
    config = contents.configuration(checkpoint).to_dict()
    config |= {"model_type": SAM3.name, "architectures": [SAM3.model]}
    (target / "config.json").write_text(json.dumps(config, indent=2, default=str) + "\n")
    for name in _TOKENIZER:
        if (checkpoint.folder / name).is_file():
            shutil.copy(checkpoint.folder / name, target)
    # Parts of one matrix share memory, which safetensors refuses.
    separate = {
        name: one.clone(memory_format=torch.contiguous_format) for name, one in state.items()
    }
    return _finish(
        target / _SAFETENSORS, lambda path: save_file(separate, path, metadata={"format": "pt"})
    )


def _write_meta(state: dict[str, torch.Tensor], target: Path) -> Path:
    """Write Meta's file, after checking that it reads back as the same weights."""
    if target.suffix not in {".pt", ".pth"} or target.exists():
        message = f"{target} must be the name of a new file that ends in .pt."
        raise NotConvertible(message)
    named = to_meta(state)
    back = meta_checkpoint.convert(named)
    lost = [name for name, one in state.items() if not torch.equal(one, back.get(name, one[:0]))]
    if lost or len(back) != len(state):
        message = f"These weights have no name at Meta: {contents.listed(lost or back)}."
        raise NotConvertible(message)
    target.parent.mkdir(parents=True, exist_ok=True)
    return _finish(target, lambda path: torch.save(named, path))


def _finish(path: Path, write: Callable[[Path], None]) -> Path:
    """Write under another name, rename it in one step, and note its digest."""
    part = path.with_name(f"{path.name}.part")
    write(part)
    part.replace(path)
    sums.write(path.parent, {path.name: sums.digest(path)})
    return path
