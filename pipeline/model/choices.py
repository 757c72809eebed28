"""
How the model computes: ways that change the time, not the answer beyond rounding.

Each is a setting, and each default is the fastest of what `python -m bench.precision` measured;
what could not be measured stays off.
"""

import importlib.util
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch

from pipeline.errors import SetupFailed
from pipeline.settings import Attention, Compile


if TYPE_CHECKING:
    from transformers import Sam3Model


@dataclass(frozen=True, slots=True, kw_only=True)
class Choices:
    """One way to compute."""

    attention: Attention = "auto"
    """`auto` is transformers' own choice: torch's fused attention (sdpa)."""
    compile: Compile = "off"
    """What `torch.compile` fuses: nothing, the vision encoder, or the heads too."""


def check(choices: Choices, device: torch.device) -> None:
    """
    Refuse what cannot be had here, before anything large is loaded.

    Raises:
        SetupFailed: the message names the setting.

    """
    has_flash = device.type == "cuda" and importlib.util.find_spec("flash_attn") is not None
    if choices.attention == "flash" and not has_flash:
        message = (
            "SAM3_ATTENTION=flash needs a CUDA GPU and the package flash-attn. Install it"
            " (`pip install flash-attn`), or set SAM3_ATTENTION=auto: torch's own attention has"
            " the same kernel in bfloat16."
        )
        raise SetupFailed(message)


def apply(choices: Choices, model: "Sam3Model") -> None:
    """Bring a loaded model into shape; compiling is `pipeline.compiled`'s part."""
    if choices.attention == "flash":
        # Of vision alone: the heads compute in float32 and with a bias, which flash has not.
        model.vision_encoder.set_attn_implementation("flash_attention_2")
    elif choices.attention != "auto":
        model.set_attn_implementation(choices.attention)
