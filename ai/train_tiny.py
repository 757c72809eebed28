"""
Train the tiny model, once per machine and recipe: ``python -m ai.train_tiny``.

The result is kept outside the checkout under a digest of the recipe, so that clones share it.
After an interruption it resumes from the last saved state, to the same weights.
"""

import argparse
import dataclasses
import sys
import tempfile
from collections.abc import Iterable
from pathlib import Path
from typing import Final

import filelock
import torch
from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)

from ai import checkpoint, evaluate, workers
from ai.tiny_config import SHARDS, Recipe


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
    with _bar(quiet=quiet) as bar:
        line = bar.add_task("training the demo model", total=recipe.steps)
        trainer = workers.train(
            workers.Plan(recipe=recipe, state=state),
            processes,
            lambda step, _losses: bar.update(line, completed=step),
        )
    with tempfile.TemporaryDirectory(dir=folder.parent) as scratch:
        made = Path(scratch) / "made"
        checkpoint.save(trainer.averaged_model(), trainer.tokens, recipe, made)
        figures = evaluate.evaluate(made, count=CHECKED_SCENES)
        facts = checkpoint.describe(recipe, checkpoint.recipe_digest(recipe), figures)
        checkpoint.publish(made, folder, facts)
    state.unlink(missing_ok=True)
    if not quiet:
        CONSOLE.print(evaluate.table(figures))


def main(arguments: Iterable[str] | None = None) -> int:
    """Train unless the model is there already."""
    options = _parser().parse_args(None if arguments is None else list(arguments))
    recipe = dataclasses.replace(Recipe(), seed=options.seed)
    if options.steps:
        recipe = dataclasses.replace(recipe, steps=options.steps)
    folder: Path = options.out or checkpoint.tiny_model_dir(recipe)
    folder.parent.mkdir(parents=True, exist_ok=True)
    torch.set_num_threads(1)
    # When two clones start at once, the second waits and then finds the first one's model.
    with filelock.FileLock(folder.with_suffix(".lock")):
        if checkpoint.is_complete(folder) and not options.force:
            if not (options.quiet or options.print_path):
                CONSOLE.print(f"The demo model is there already: {folder}", soft_wrap=True)
        else:
            train(recipe, folder, processes=options.processes, quiet=options.quiet)
    if options.print_path:
        print(folder)
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m ai.train_tiny", description=__doc__)
    parser.add_argument("--out", type=Path, help="folder (default: the cache, by recipe)")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--steps", type=int, help="fewer steps than the recipe's, for a try")
    parser.add_argument("--processes", type=int, choices=(1, SHARDS), default=SHARDS)
    parser.add_argument("--force", action="store_true", help="train although it is there")
    parser.add_argument("--quiet", action="store_true")
    parser.add_argument("--print-path", action="store_true", help="print the folder at the end")
    return parser


def _bar(*, quiet: bool) -> Progress:
    return Progress(
        TextColumn("{task.description}"),
        BarColumn(bar_width=40),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TextColumn("left:"),
        TimeRemainingColumn(),
        console=CONSOLE,
        disable=quiet,
    )


if __name__ == "__main__":
    sys.exit(main())
