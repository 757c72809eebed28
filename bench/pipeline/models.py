"""Random models on disk. Random weights cost the same time as trained ones."""

from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Final

from ai.tiny_config import Recipe, model_config
from ai.vocabulary import tokenizer


if TYPE_CHECKING:
    from transformers import CLIPTokenizer, Sam3Model

TINY: Final = Recipe()
"""The demo model's size: everything around the model weighs most."""

CROWDED: Final = replace(TINY, queries=200)
"""The same with as many queries as SAM3: for up to 200 objects. Its heads outweigh its vision."""

MIDDLE: Final = Recipe(
    image_size=504,
    patch_size=14,
    vit_width=512,
    vit_layers=12,
    width=128,
    heads=8,
    encoder_layers=4,
    decoder_layers=4,
    queries=200,
    text_width=256,
)
"""About a twentieth of SAM3's work: a model that has some, while what surrounds it still shows."""

_SPREAD: Final = 0.15
"""Standard deviation of the tiny models' weights. With the initial ones queries answer alike."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Loaded:
    """A model in memory, in evaluation mode."""

    model: "Sam3Model"
    tokenizer: "CLIPTokenizer"


def build(folder: Path, recipe: Recipe, *, seed: int = 0) -> Path:
    """Write a random model in transformers' layout to *folder*, and give the folder back."""
    import torch
    from transformers import Sam3Model

    torch.manual_seed(seed)
    tokens = tokenizer()
    model = Sam3Model(model_config(recipe, tokens))
    if recipe != MIDDLE:
        for parameter in model.parameters():
            torch.nn.init.normal_(parameter, std=_SPREAD)
    model.save_pretrained(folder)
    tokens.save_pretrained(folder)
    return folder


def load(folder: Path, device: str) -> Loaded:
    """Load as transformers' documentation does, with region pooling where torchvision is absent."""
    from pipeline.model import torchvision_fallback

    torchvision_fallback.install()
    from transformers import CLIPTokenizer, Sam3Model

    model = Sam3Model.from_pretrained(folder).to(device).eval()
    return Loaded(model=model, tokenizer=CLIPTokenizer.from_pretrained(folder))


def full_size(device: str, *, seed: int = 0) -> Loaded:
    """SAM3's own 840 million parameters, random, in memory only (3.4 GB)."""
    import torch
    from transformers import Sam3Config, Sam3Model

    from pipeline.model import torchvision_fallback

    torchvision_fallback.install()
    torch.manual_seed(seed)
    return Loaded(model=Sam3Model(Sam3Config()).to(device).eval(), tokenizer=tokenizer())
