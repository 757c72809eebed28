"""
Which code runs which weights: the models that can stand behind the `Detector` seam.

A checkpoint's `config.json` says its `model_type`; the table here says what to do with it. A new
backend is one entry and one class that gives what `pipeline.detector.Detector` asks for.
"""

import importlib
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from s3_sam3.contracts.manifest import ModelInfo


if TYPE_CHECKING:
    from pipeline.model.detector import Detector


@dataclass(frozen=True, slots=True, kw_only=True)
class Backend:
    """One kind of model; its classes are named, not imported, so that this costs nothing."""

    name: str
    """What `ModelInfo.backend` says."""
    model: str
    """transformers' class of the whole model."""
    config: str
    """transformers' class of its configuration."""
    detector: tuple[str, str]
    """Our module and class."""
    meta: bool
    """Whether weights may also come in a file with Meta's names."""

    def model_class(self) -> Any:
        """Give transformers' model class."""
        return getattr(importlib.import_module("transformers"), self.model)

    def config_class(self) -> Any:
        """Give transformers' configuration class; called without arguments it is full-size."""
        return getattr(importlib.import_module("transformers"), self.config)

    def open(self, *, model: Any, tokenizer: Any, info: ModelInfo) -> "Detector":
        """Put a loaded model behind the seam."""
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
    detector=("pipeline.model.lite_text", "LiteTextDetector"),
    meta=False,
)

#: `model_type` of a config.json -> backend. Of a video model the detector is taken.
BY_MODEL_TYPE: Final = {"sam3": SAM3, "sam3_video": SAM3, "sam3_lite_text": LITE_TEXT}
