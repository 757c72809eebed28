"""
Train the tiny model, once per machine and recipe: ``python -m ai.train_tiny``.

The result is kept outside the checkout under a digest of the recipe, so that clones share it.
After an interruption it resumes from the last saved state, to the same weights.
"""

import argparse
import ast
import hashlib
import inspect
import json
import os
import shutil
import sys
import tempfile
from collections.abc import Iterable
from dataclasses import asdict
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any, Final

import filelock
import platformdirs
import torch
from rich.console import Console
from rich.progress import Progress

from ai import (
    batches,
    evaluate,
    initialise,
    losses,
    scenes,
    tiny_config,
    training,
    vocabulary,
    workers,
)
from ai.tiny_config import SHARDS, Recipe


if TYPE_CHECKING:
    from transformers import CLIPTokenizer, Sam3Model

#: The modules that decide the weights; a change in their code is a new recipe.
SOURCES: Final[tuple[ModuleType, ...]] = (
    batches,
    initialise,
    losses,
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


# Standard output is for the answer alone (--print-path); everything else goes to the terminal.
CONSOLE: Final = Console(stderr=True)

#: Held-out scenes to evaluate after the training; `ai.evaluate` uses more.
CHECKED_SCENES: Final = 100


def train(recipe: Recipe, folder: Path, *, processes: int = SHARDS, quiet: bool = False) -> None:
    """Train, save, evaluate and put the finished model into *folder*."""
    folder.parent.mkdir(parents=True, exist_ok=True)
    state = folder.with_suffix(".state")
    if not quiet:
        CONSOLE.print(f"Training the demo model, once for this machine ({recipe.steps} steps).")
    with Progress(console=CONSOLE, disable=quiet) as bar:
        line = bar.add_task("training the demo model", total=recipe.steps)
        trainer = workers.train(
            workers.Plan(recipe=recipe, state=state),
            processes,
            lambda step, _losses: bar.update(line, completed=step),
        )
    with tempfile.TemporaryDirectory(dir=folder.parent) as scratch:
        made = Path(scratch) / "made"
        save(trainer.averaged_model(), trainer.tokens, recipe, made)
        figures = evaluate.evaluate(made, count=CHECKED_SCENES)
        facts = describe(recipe, recipe_digest(recipe), figures)
        publish(made, folder, facts)
    state.unlink(missing_ok=True)
    if not quiet:
        CONSOLE.print(evaluate.table(figures))


def main(arguments: Iterable[str] | None = None) -> int:
    """Train unless the model is there already."""
    parser = argparse.ArgumentParser(prog="python -m ai.train_tiny", description=__doc__)
    parser.add_argument("--out", type=Path, help="folder (default: the cache, by recipe)")
    parser.add_argument("--processes", type=int, choices=(1, SHARDS), default=SHARDS)
    parser.add_argument("--quiet", action="store_true")
    parser.add_argument("--print-path", action="store_true", help="print the folder at the end")
    options = parser.parse_args(None if arguments is None else list(arguments))
    recipe = Recipe()
    folder: Path = options.out or tiny_model_dir(recipe)
    folder.parent.mkdir(parents=True, exist_ok=True)
    torch.set_num_threads(1)
    # When two clones start at once, the second waits and then finds the first one's model.
    with filelock.FileLock(folder.with_suffix(".lock")):
        if is_complete(folder):
            if not (options.quiet or options.print_path):
                CONSOLE.print(f"The demo model is there already: {folder}", soft_wrap=True)
        else:
            train(recipe, folder, processes=options.processes, quiet=options.quiet)
    if options.print_path:
        print(folder)
    return 0


if __name__ == "__main__":
    sys.exit(main())
