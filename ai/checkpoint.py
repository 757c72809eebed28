"""
The trained tiny model on disk: where it is kept, and how it is written.

It is kept outside the checkout, so that clones share it, as a folder that stock transformers opens.
"""

import ast
import hashlib
import inspect
import json
import os
import shutil
from collections.abc import Iterable
from dataclasses import asdict
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any, Final

import platformdirs

from ai import batches, forward, initialise, losses, pool, scenes, tiny_config, training, vocabulary
from ai.tiny_config import Recipe


if TYPE_CHECKING:
    from transformers import CLIPTokenizer, Sam3Model

#: The modules that decide the weights; a change in their code is a new recipe.
SOURCES: Final[tuple[ModuleType, ...]] = (
    batches,
    forward,
    initialise,
    losses,
    pool,
    scenes,
    tiny_config,
    training,
    vocabulary,
)


def tiny_model_dir(recipe: Recipe | None = None) -> Path:
    """Give the folder of the recipe's model (by default the current one's), trained or not."""
    root = Path(os.environ.get("S3_CACHE_DIR") or platformdirs.user_cache_dir("s3-sam3"))
    return root / "tiny" / recipe_digest(recipe or Recipe())


def recipe_digest(recipe: Recipe, sources: Iterable[ModuleType] = SOURCES) -> str:
    """
    Name a recipe by 16 hex digits of the SHA-256 of its numbers and the code that runs it.

    Comments, docstrings and layout do not count: rewording them needs no training.
    """
    digest = hashlib.sha256(recipe.to_json().encode())
    for source in sources:
        digest.update(code_of(inspect.getsource(source)).encode())
    return digest.hexdigest()[:16]


def code_of(source: str) -> str:
    """Reduce Python source to its syntax tree without docstrings."""
    tree = ast.parse(source)
    for node in ast.walk(tree):
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
            first = node.body[0] if node.body else None
            if isinstance(first, ast.Expr) and isinstance(first.value, ast.Constant):
                node.body = node.body[1:]
    return ast.dump(tree)


def is_complete(folder: Path) -> bool:
    """Whether the folder holds a finished model: `tiny.json` is written last."""
    return (folder / "tiny.json").is_file()


def save(model: "Sam3Model", tokens: "CLIPTokenizer", recipe: Recipe, folder: Path) -> None:
    """Write config, weights, tokenizer and processor settings, but not `tiny.json` yet."""
    folder.mkdir(parents=True, exist_ok=True)
    model.save_pretrained(folder)
    tokens.save_pretrained(folder)
    settings = json.dumps(processor_settings(recipe), indent=2, sort_keys=True)
    (folder / "processor_config.json").write_text(settings + "\n")


def processor_settings(recipe: Recipe) -> dict[str, Any]:
    """
    Give what `Sam3Processor.save_pretrained` writes; that itself needs torchvision.

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
    """Give the content of `tiny.json`: what this model is, what it knows, and how well."""
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
