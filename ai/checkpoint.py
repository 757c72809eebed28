"""Writes the trained tiny model as a checkpoint folder that stock transformers can open."""

import json
import shutil
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ai import vocabulary
from ai.tiny_config import Recipe


if TYPE_CHECKING:
    from transformers import CLIPTokenizer, Sam3Model


def save(model: "Sam3Model", tokens: "CLIPTokenizer", recipe: Recipe, folder: Path) -> None:
    """Write config, weights, tokenizer and processor settings; `tiny.json` is not written yet."""
    folder.mkdir(parents=True, exist_ok=True)
    model.save_pretrained(folder)
    tokens.save_pretrained(folder)
    settings = json.dumps(processor_settings(recipe), indent=2, sort_keys=True)
    (folder / "processor_config.json").write_text(settings + "\n")


def processor_settings(recipe: Recipe) -> dict[str, Any]:
    """
    What `Sam3Processor.save_pretrained` writes; by hand, because that needs torchvision.

    SAM3 stretches a picture to a square and scales its bytes to -1..1.
    """
    square = {"height": recipe.image_size, "width": recipe.image_size}
    return {
        "processor_class": "Sam3Processor",
        "point_pad_value": -10,
        "target_size": recipe.image_size,
        "image_processor": {
            "image_processor_type": "Sam3ImageProcessor",
            "do_convert_rgb": True,
            "do_resize": True,
            "resample": 2,  # bilinear
            "size": square,
            "mask_size": {"height": recipe.mask_size, "width": recipe.mask_size},
            "do_rescale": True,
            "rescale_factor": 1 / 255,
            "do_normalize": True,
            "image_mean": [0.5, 0.5, 0.5],
            "image_std": [0.5, 0.5, 0.5],
        },
    }


def describe(recipe: Recipe, digest: str, figures: dict[str, float]) -> dict[str, Any]:
    """The content of `tiny.json`: what this model is, what it knows, and how well."""
    return {
        "what": "A tiny SAM3 trained on synthetic shapes: a demo and a test double.",
        "vocabulary": list(vocabulary.VOCABULARY),
        "recipe_digest": digest,
        "recipe": asdict(recipe),
        "metrics": figures,
    }


def publish(made: Path, folder: Path, facts: dict[str, Any]) -> None:
    """Write `tiny.json`, then move the finished folder into place in one step."""
    (made / "tiny.json").write_text(json.dumps(facts, indent=2) + "\n")
    if folder.exists():
        shutil.rmtree(folder)
    folder.parent.mkdir(parents=True, exist_ok=True)
    made.replace(folder)
