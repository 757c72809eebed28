"""
Finds the weights, loads them and names them, or says in one sentence what to do.

They are a directory in transformers' layout, of any type in `BY_MODEL_TYPE`, or Meta's `sam3.pt`
beside tokenizer files. `config.json` says which model they are of, and so which backend runs them.
"""

import hashlib
import importlib
import json
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from pipeline.errors import WeightsUnavailable
from s3_sam3.contracts.manifest import ModelInfo


if TYPE_CHECKING:
    from transformers import CLIPTokenizer, Sam3Model

    from pipeline.model.detector import Detector

_WANTED: Final = (
    "SAM3_WEIGHTS_PATH must name a directory with config.json, model.safetensors and"
    " tokenizer.json (transformers layout), or Meta's sam3.pt."
)

_META_FILE: Final = "sam3.pt"

#: Hex digits of a revision.
_DIGITS: Final = 12

#: Written by ai/ beside the weights of the demo model.
_TINY_MARK: Final = "tiny.json"


@dataclass(frozen=True, slots=True, kw_only=True)
class Backend:
    """What runs one kind of model; classes are named, so that importing this loads no torch."""

    name: str
    """What `ModelInfo.backend` says."""
    model: str
    """transformers' class of the whole model."""
    config: str
    """transformers' class of its configuration."""
    detector: tuple[str, str]
    """Module and class of ours."""
    meta: bool
    """Whether weights may also come in a file with Meta's names."""

    def model_class(self) -> Any:
        return getattr(importlib.import_module("transformers"), self.model)

    def config_class(self) -> Any:
        """Give transformers' configuration class; without arguments it makes a full-size one."""
        return getattr(importlib.import_module("transformers"), self.config)

    def open(self, *, model: Any, tokenizer: Any, info: ModelInfo) -> "Detector":
        module, name = self.detector
        opened: Detector = getattr(importlib.import_module(module), name)(
            model=model, tokenizer=tokenizer, info=info
        )
        return opened


SAM3: Final = Backend(
    name="sam3",
    model="Sam3Model",
    config="Sam3Config",
    detector=("pipeline.model.detector", "Sam3Detector"),
    meta=True,
)

LITE_TEXT: Final = Backend(
    name="sam3_lite_text",
    model="Sam3LiteTextModel",
    config="Sam3LiteTextConfig",
    detector=("pipeline.model.detector", "LiteTextDetector"),
    meta=False,
)

#: `model_type` of a config.json -> backend. Only the detector of a video model is used.
BY_MODEL_TYPE: Final = {"sam3": SAM3, "sam3_video": SAM3, "sam3_lite_text": LITE_TEXT}


@dataclass(frozen=True, slots=True, kw_only=True)
class Checkpoint:
    """Weights on disk."""

    folder: Path
    """Holds the tokenizer, and config.json unless the size is SAM3's own."""
    files: tuple[Path, ...]
    """The weights themselves."""
    meta: bool
    """Whether they carry Meta's names."""
    backend: Backend = SAM3

    @property
    def demo(self) -> bool:
        """Whether this is the tiny demo model."""
        return (self.folder / _TINY_MARK).is_file()

    def revision(self) -> str:
        """Name the weights by the first 12 hex digits of the sha256 over their files."""
        digests = [digest(path) for path in self.files]
        whole = digests[0] if len(digests) == 1 else hashlib.sha256(b"".join(digests)).digest()
        return whole.hex()[:_DIGITS]


def digest(path: Path) -> bytes:
    """Give a file's sha256."""
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").digest()


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
    """Refuse a folder without CLIP's vocabulary, which is not part of the weights."""
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
    from pipeline.model import torchvision_fallback

    torchvision_fallback.install()
    from transformers import CLIPTokenizer
    from transformers.utils import logging

    logging.disable_progress_bar()
    try:
        model, report = _load_model(checkpoint)
        tokenizer = CLIPTokenizer.from_pretrained(checkpoint.folder, local_files_only=True)
    except Exception as error:  # a damaged file raises errors of many types
        message = f"The weights in {checkpoint.folder} cannot be loaded: {first_line(error)}."
        raise WeightsUnavailable(f"{message} If they are damaged, download them again.") from error
    _check_complete(checkpoint, report)
    return model.eval(), tokenizer


def _load_model(checkpoint: Checkpoint) -> tuple["Sam3Model", dict[str, Any]]:
    """Load the detector; give it with transformers' report about its weights."""
    import torch

    from pipeline.model import meta_checkpoint

    source: dict[str, Any] = {"pretrained_model_name_or_path": checkpoint.folder}
    if checkpoint.meta:
        source = {
            "pretrained_model_name_or_path": None,
            "config": configuration(checkpoint),
            "state_dict": meta_checkpoint.read(checkpoint.files[0]),
        }
    model, report = checkpoint.backend.model_class().from_pretrained(
        **source, dtype=torch.float32, output_loading_info=True, local_files_only=True
    )
    return model, report


def configuration(checkpoint: Checkpoint) -> Any:
    """Read config.json; without one beside Meta's file, give SAM3's own size."""
    from transformers import AutoConfig

    if not (checkpoint.folder / "config.json").is_file():
        return checkpoint.backend.config_class()()
    return AutoConfig.from_pretrained(checkpoint.folder, local_files_only=True)


def _check_complete(checkpoint: Checkpoint, report: dict[str, Any]) -> None:
    """Refuse missing weights: transformers fills them with random numbers and only warns."""
    missing = sorted(report["missing_keys"])
    if missing:
        message = (
            f"{checkpoint.folder} lacks {len(missing)} weights of SAM3, first {missing[0]}."
            " They belong to another model, or the files are incomplete: download them again."
        )
        raise WeightsUnavailable(message)


def first_line(error: BaseException) -> str:
    """Give the first line of what an error says, or its type."""
    return (str(error).strip().splitlines() or [type(error).__name__])[0].rstrip(".")
