"""
Finds the weights and loads them, or says in one sentence what to do.

Three places: a directory in transformers' layout (any model of `backends`; of a SAM3 video
checkpoint the detector is taken), Meta's `sam3.pt` beside tokenizer files, or the hub's gated
facebook/sam3.
"""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from pipeline.errors import WeightsUnavailable
from pipeline.model.backends import BY_MODEL_TYPE, SAM3, Backend


if TYPE_CHECKING:
    from transformers import CLIPTokenizer, Sam3Model

_WANTED: Final = (
    "SAM3_WEIGHTS_PATH must name a directory with config.json, model.safetensors and"
    " tokenizer.json (transformers layout), or Meta's sam3.pt."
)

_META_FILE: Final = "sam3.pt"

#: Written by ai/ beside the weights of the demo model.
_TINY_MARK: Final = "tiny.json"


@dataclass(frozen=True, slots=True, kw_only=True)
class Checkpoint:
    """Weights that are there."""

    folder: Path
    """Holds the tokenizer, and config.json unless the size is SAM3's own."""
    files: tuple[Path, ...]
    """The weights themselves."""
    meta: bool
    """Whether they carry Meta's names."""
    backend: Backend = SAM3
    """What runs them."""

    @property
    def demo(self) -> bool:
        """Whether this is the tiny demo model."""
        return (self.folder / _TINY_MARK).is_file()


def locate(path: Path) -> Checkpoint:
    """
    Find the weights at *path*, a directory or a file.

    Raises:
        WeightsUnavailable: nothing usable is there.

    """
    if not path.exists():
        message = f"SAM3_WEIGHTS_PATH={path} does not exist. {_WANTED}"
        raise WeightsUnavailable(message)
    if path.is_file():
        return _meta_file(path)
    files = tuple(sorted([*path.glob("*.safetensors"), *path.glob("pytorch_model*.bin")]))
    if not files and (path / _META_FILE).is_file():
        return _meta_file(path / _META_FILE)
    backend = _read_backend(path)
    if not files:
        message = f"{path} holds a config.json but no weights (model.safetensors). {_WANTED}"
        raise WeightsUnavailable(message)
    _check_tokenizer(path)
    return Checkpoint(folder=path, files=files, meta=False, backend=backend)


def _meta_file(path: Path) -> Checkpoint:
    """Take Meta's file."""
    if path.suffix not in {".pt", ".pth"}:
        message = f"{path} is not a checkpoint of Meta's sam3 (*.pt). {_WANTED}"
        raise WeightsUnavailable(message)
    _check_tokenizer(path.parent)
    return Checkpoint(folder=path.parent, files=(path,), meta=True)


def _read_backend(folder: Path) -> Backend:
    """Refuse directories of other models before anything large is read."""
    try:
        config = json.loads((folder / "config.json").read_text())
    except FileNotFoundError:
        message = f"{folder} holds no config.json and no {_META_FILE}. {_WANTED}"
        raise WeightsUnavailable(message) from None
    except (OSError, ValueError) as error:
        message = f"{folder / 'config.json'} cannot be read ({error}). Download it again."
        raise WeightsUnavailable(message) from error
    kind = config.get("model_type") if isinstance(config, dict) else None
    if kind not in BY_MODEL_TYPE:
        known = ", ".join(BY_MODEL_TYPE)
        message = f"{folder} holds a model of type {kind!r}; known types are {known}. {_WANTED}"
        raise WeightsUnavailable(message)
    return BY_MODEL_TYPE[kind]


def _check_tokenizer(folder: Path) -> None:
    """SAM3 reads text as CLIP does; the vocabulary is not part of the weights."""
    here = {path.name for path in folder.iterdir()}
    if "tokenizer.json" not in here and not {"vocab.json", "merges.txt"} <= here:
        message = (
            f"{folder} holds no tokenizer. Put tokenizer.json (or vocab.json and merges.txt) of"
            " facebook/sam3 or of openai/clip-vit-base-patch32 beside the weights."
        )
        raise WeightsUnavailable(message)


def load(checkpoint: Checkpoint) -> tuple["Sam3Model", "CLIPTokenizer"]:
    """
    Load model (float32, CPU, evaluation mode) and tokenizer.

    Raises:
        WeightsUnavailable: the files are damaged, or weights are missing from them.

    """
    from pipeline.model import torchvision_gate

    torchvision_gate.hide_if_broken()
    from transformers import CLIPTokenizer
    from transformers.utils import logging

    from pipeline.model import regions

    logging.disable_progress_bar()
    regions.install()
    try:
        model, report = _load_model(checkpoint)
        tokenizer = CLIPTokenizer.from_pretrained(checkpoint.folder, local_files_only=True)
    except Exception as error:  # a damaged file raises whatever its reader thinks of
        message = f"The weights in {checkpoint.folder} cannot be loaded: {_first_line(error)}."
        raise WeightsUnavailable(f"{message} If they are damaged, download them again.") from error
    _check_complete(checkpoint, report)
    return model.eval(), tokenizer


def _load_model(checkpoint: Checkpoint) -> tuple["Sam3Model", dict[str, Any]]:
    """Load the detector and what transformers reports about it."""
    import torch
    from transformers import AutoConfig

    from pipeline.model import meta_checkpoint

    source: dict[str, Any] = {"pretrained_model_name_or_path": checkpoint.folder}
    if checkpoint.meta:
        has_config = (checkpoint.folder / "config.json").is_file()
        source = {
            "pretrained_model_name_or_path": None,
            "config": (
                AutoConfig.from_pretrained(checkpoint.folder)
                if has_config
                else checkpoint.backend.config_class()()
            ),
            "state_dict": meta_checkpoint.read(checkpoint.files[0]),
        }
    model, report = checkpoint.backend.model_class().from_pretrained(
        **source, dtype=torch.float32, output_loading_info=True, local_files_only=True
    )
    return model, report


def _check_complete(checkpoint: Checkpoint, report: dict[str, Any]) -> None:
    """Refuse a model that transformers filled up with random numbers; it only warns."""
    missing = sorted(report["missing_keys"])
    if missing:
        message = (
            f"{checkpoint.folder} lacks {len(missing)} weights of SAM3, first {missing[0]}."
            " They belong to another model, or the files are incomplete: download them again."
        )
        raise WeightsUnavailable(message)


def _first_line(error: BaseException) -> str:
    """Enough of a reader's message to tell what is wrong."""
    return (str(error).strip().splitlines() or [type(error).__name__])[0].rstrip(".")
