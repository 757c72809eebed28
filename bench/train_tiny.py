"""
How long the demo model takes to train, and how good it is.

    python -m bench.train_tiny [--quick] [--json FILE]

`--quick` makes a few steps of each kind and estimates the whole; it says nothing about quality.
"""

import argparse
import dataclasses
import tempfile
import time
from pathlib import Path

from rich.table import Table

from ai import evaluate, train_tiny, workers
from ai.tiny_config import SHARDS, Recipe
from bench import report


MOST_MINUTES = 6.0

#: Steps of vision alone, and steps in all, of a quick run.
QUICK_LESSONS, QUICK_STEPS = 60, 120


def main() -> int:
    """Measure, print, and return the exit code."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="a few steps, under a minute")
    parser.add_argument("--json", type=Path)
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="s3-bench-") as scratch:
        figures = _quick(Path(scratch)) if asked.quick else _whole(Path(scratch))
    targets = [
        report.Target(
            name="training", measured=figures["minutes"], limit=MOST_MINUTES, unit="minutes"
        )
    ]
    if not asked.quick:
        targets += [_target(name, figures[name]) for name in evaluate.TARGETS]
    return report.finish(
        "train_tiny", table=_table(figures), targets=targets, figures=figures, to=asked.json
    )


def _whole(scratch: Path) -> dict[str, float]:
    """Train as `make train-tiny` does, and evaluate on 200 held-out scenes."""
    begun = time.perf_counter()
    train_tiny.train(Recipe(), scratch / "model")
    minutes = (time.perf_counter() - begun) / 60
    return {"minutes": minutes, **evaluate.evaluate(scratch / "model")}


def _quick(scratch: Path) -> dict[str, float]:
    """Time a few steps of each kind, and estimate all of them."""
    whole = Recipe()
    short = dataclasses.replace(whole, lessons=QUICK_LESSONS, steps=QUICK_STEPS)
    at = [time.perf_counter()]
    plan = workers.Plan(recipe=short, state=scratch / "state")
    workers.train(plan, SHARDS, lambda _step, _losses: at.append(time.perf_counter()))
    start = at[1] - at[0]
    lesson = (at[QUICK_LESSONS] - at[1]) / (QUICK_LESSONS - 1)
    joint = (at[QUICK_STEPS] - at[QUICK_LESSONS]) / (QUICK_STEPS - QUICK_LESSONS)
    total = start + lesson * whole.lessons + joint * (whole.steps - whole.lessons)
    return {
        "minutes": total / 60,
        "start_seconds": start,
        "lesson_milliseconds": 1000 * lesson,
        "joint_step_milliseconds": 1000 * joint,
    }


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
