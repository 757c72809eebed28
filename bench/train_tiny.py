"""
How long the demo model takes to train, and how good it is.

    python -m bench.train_tiny [--quick] [--json FILE]

`--quick` trains a hundred steps and tells what the whole would take; it says nothing of quality.
"""

import argparse
import dataclasses
import tempfile
import time
from pathlib import Path

from rich.table import Table

from ai import evaluate, train_tiny
from ai.tiny_config import Recipe
from bench import report


MOST_MINUTES = 6.0
QUICK_STEPS = 100


def main() -> int:
    """Measure, print, and return the exit code."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="a hundred steps, under a minute")
    parser.add_argument("--json", type=Path)
    asked = parser.parse_args()
    recipe = Recipe()
    if asked.quick:
        recipe = dataclasses.replace(recipe, steps=QUICK_STEPS)
    with tempfile.TemporaryDirectory(prefix="s3-bench-") as scratch:
        folder = Path(scratch) / "model"
        begun = time.perf_counter()
        train_tiny.train(recipe, folder)
        minutes = (time.perf_counter() - begun) / 60 * Recipe().steps / recipe.steps
        figures = evaluate.evaluate(folder, count=20 if asked.quick else 200)
    targets = [report.Target(name="training", measured=minutes, limit=MOST_MINUTES, unit="minutes")]
    if not asked.quick:
        targets += [_target(name, figures[name]) for name in evaluate.TARGETS]
    return report.finish(
        "train_tiny",
        table=_table(figures),
        targets=targets,
        figures={"minutes": minutes, "steps": recipe.steps, **figures},
        to=asked.json,
    )


def _target(name: str, measured: float) -> report.Target:
    low, high = evaluate.TARGETS[name]
    at_least = low > 0
    return report.Target(
        name=name, measured=measured, limit=low if at_least else high, unit="", at_least=at_least
    )


def _table(figures: dict[str, float]) -> Table:
    table = Table(title="the demo model on held-out scenes", title_justify="left")
    table.add_column("figure")
    table.add_column("value", justify="right")
    for name, value in figures.items():
        table.add_row(name, f"{value:.3f}")
    return table


if __name__ == "__main__":
    raise SystemExit(main())
