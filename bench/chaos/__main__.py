"""
Thousands of jobs while everything that can fail does, and then an audit of every one of them.

    python -m bench.chaos [--jobs 5000] [--quick] [--json FILE] [--unfenced]

`--quick` runs a small version with the fence and then one without. Exit codes: 0, every law holds
(with `--unfenced`: the control is red, as it must be); 1, a law is broken (with `--unfenced`: the
control showed nothing, so the run proves nothing).
"""

import argparse
import asyncio
import logging
import signal
import sys
from collections.abc import Coroutine
from dataclasses import asdict
from pathlib import Path
from typing import Any, TypeVar

from rich.table import Table

from bench import report
from bench.chaos.plan import FULL, QUICK, Plan, scaled
from bench.chaos.run import PARTIAL, Outcome, run


Result = TypeVar("Result")


def main() -> int:
    """Run, print, and return the exit code."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--jobs", type=int, default=FULL.jobs)
    parser.add_argument("--quick", action="store_true", help="120 jobs with the fence and without")
    parser.add_argument("--json", type=Path)
    parser.add_argument("--unfenced", action="store_true", help="the negative control")
    asked = parser.parse_args()
    logging.getLogger("aiohttp.server").setLevel(logging.CRITICAL)  # those it hangs up on
    if asked.quick:
        fenced, unfenced = asyncio.run(_stoppable(_both(QUICK)))
        return _chaos(QUICK, fenced, asked.json) or _control(QUICK, unfenced, None)
    plan = FULL if asked.jobs == FULL.jobs else scaled(asked.jobs)
    outcome = asyncio.run(_stoppable(run(plan, fenced=not asked.unfenced)))
    return (_control if asked.unfenced else _chaos)(plan, outcome, asked.json)


async def _stoppable(work: Coroutine[Any, Any, Result]) -> Result:
    """Let SIGTERM end *work* as Ctrl-C does, so that no process of the fleet is left behind."""
    task = asyncio.ensure_future(work)
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, task.cancel)
    return await task


async def _both(plan: Plan) -> tuple[Outcome, Outcome]:
    """With the fence and without it, side by side: most of a small run is waiting."""
    return await asyncio.gather(run(plan), run(plan, fenced=False))


def _chaos(plan: Plan, outcome: Outcome, to: Path | None) -> int:
    _tell_examples(outcome)
    targets = [
        report.Target(name=name, measured=count, limit=0, unit="")
        for name, count in outcome.must_be_zero.items()
    ]
    targets.append(
        report.Target(
            name=PARTIAL, measured=outcome.happened[PARTIAL], limit=1, unit="", at_least=True
        )
    )
    return report.finish(
        "chaos",
        table=_table(outcome, "chaos"),
        targets=targets,
        figures=_figures(plan, outcome),
        to=to,
    )


def _control(plan: Plan, outcome: Outcome, to: Path | None) -> int:
    wrong = report.Target(
        name="wrong results without the fence",
        measured=outcome.wrong_results,
        limit=1,
        unit="",
        at_least=True,
    )
    code = report.finish(
        "chaos-unfenced",
        table=_table(outcome, "chaos without the fence"),
        targets=[wrong],
        figures=_figures(plan, outcome),
        to=to,
    )
    print("control red as it must be" if code == 0 else "the control showed nothing")
    return code


def _figures(plan: Plan, outcome: Outcome) -> dict[str, object]:
    return {
        "plan": asdict(plan),
        "happened": outcome.happened,
        "must be zero": outcome.must_be_zero,
    }


def _tell_examples(outcome: Outcome) -> None:
    for name, tasks in outcome.examples.items():
        print(f"{name}: {', '.join(tasks)}", file=sys.stderr)


def _table(outcome: Outcome, title: str) -> Table:
    table = Table(title=title, title_justify="left")
    table.add_column("what")
    table.add_column("count", justify="right")
    for name, count in outcome.happened.items():
        table.add_row(name, f"{count:g}")
    table.add_section()
    for name, count in outcome.must_be_zero.items():
        table.add_row(name, f"[{'red' if count else 'green'}]{count}[/]")
    return table


if __name__ == "__main__":
    raise SystemExit(main())
