"""
The queue against its model, for as long as one likes, and against mutants of itself.

    python -m bench.queue_states [--quick] [--examples N] [--steps N] [--seed N] [--json FILE]

Each example is a random way of up to `--steps` steps through submit, claim, renew, progress,
complete, fail, cancel, delete, release, reap and time, on the embedded platform's PostgreSQL.
After every step the database has to agree with `bench.queue_states.model`. Then guards are taken
out of the SQL one at a time, and the machine has to notice each.
"""

import argparse
import secrets
import tempfile
import time
from pathlib import Path

from hypothesis import HealthCheck, Phase, Verbosity, seed, settings
from rich.console import Console
from rich.table import Table

from bench import report
from bench.queue_states.machine import QueueMachine, run_machine
from bench.queue_states.mutants import MUTANTS, mutated
from devstack import testing


QUICK_MUTANTS = 3
HUNTS = 3
"""
Times that a guard's absence is looked for, from different beginnings. Some show in a few ways only:
the floor of memory rises when the smaller worker fails while the larger one is online.
"""


def main() -> int:
    """Run, print, and return the exit code."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--examples", type=int, default=2000)
    parser.add_argument("--steps", type=int, default=60)
    parser.add_argument("--seed", type=int, default=secrets.randbits(32))
    parser.add_argument(
        "--quick", action="store_true", help="60 examples and the first mutants, about a minute"
    )
    parser.add_argument("--json", type=Path)
    asked = parser.parse_args()
    examples = 60 if asked.quick else asked.examples
    hunted = list(MUTANTS)[:QUICK_MUTANTS] if asked.quick else list(MUTANTS)
    # Shortening the way to a mismatch takes minutes.
    chosen = _settings(examples, asked.steps, shrink=not asked.quick)
    print(f"seed {asked.seed}")
    with tempfile.TemporaryDirectory(prefix="s3-bench-") as folder:
        process = testing.DevstackProcess(Path(folder) / "state")
        try:
            url = process.wait_ready().db_url
            begun = time.perf_counter()
            steps, mismatch = _run(url, chosen, asked.seed)
            seconds = time.perf_counter() - begun
            found = {} if mismatch else _hunt(url, hunted, asked.steps, asked.seed)
        finally:
            process.stop()
    if mismatch is not None:
        Console().print(mismatch, markup=False)
    return report.finish(
        "queue_states",
        table=_table(found),
        targets=_targets(found, len(hunted), mismatched=mismatch is not None),
        figures={
            "seed": asked.seed,
            "examples": examples,
            "steps": steps,
            "seconds": round(seconds, 1),
            "mutants_found": found,
        },
        to=asked.json,
    )


def _settings(examples: int, steps: int, *, shrink: bool) -> settings:
    phases = [Phase.generate, Phase.shrink] if shrink else [Phase.generate]
    return settings(
        max_examples=examples,
        stateful_step_count=steps,
        database=None,
        deadline=None,
        phases=phases,
        report_multiple_bugs=False,
        verbosity=Verbosity.normal,
        suppress_health_check=list(HealthCheck),
    )


def _run(url: str, chosen: settings, number: int) -> tuple[int, str | None]:
    """Steps taken, and the shortest way to a mismatch if there was one."""
    machines: list[QueueMachine] = []

    def machine() -> QueueMachine:
        machines.append(QueueMachine(url))
        return machines[-1]

    mismatch = None
    try:
        run_machine(seed(number)(machine), chosen)
    except Exception as error:  # noqa: BLE001 - whatever it is, it is a mismatch
        mismatch = "\n".join([repr(error), *getattr(error, "__notes__", [])])
    return sum(each.steps for each in machines), mismatch


def _hunt(url: str, names: list[str], steps: int, number: int) -> dict[str, bool]:
    """Whether the machine notices each guard that is taken out."""
    found = {}
    for name in names:
        with mutated(url, MUTANTS[name]):
            found[name] = any(_notices(url, steps, number + more) for more in range(HUNTS))
    return found


def _notices(url: str, steps: int, number: int) -> bool:
    try:
        run_machine(seed(number)(lambda: QueueMachine(url)), _settings(400, steps, shrink=False))
    except Exception:  # noqa: BLE001 - that is what is hoped for
        return True
    return False


def _targets(found: dict[str, bool], hunted: int, *, mismatched: bool) -> list[report.Target]:
    return [
        report.Target(name="mismatches", measured=float(mismatched), limit=0.0, unit=""),
        report.Target(
            name="guards whose absence is noticed",
            measured=float(sum(found.values())),
            limit=float(hunted),
            unit=f"of {hunted}",
            at_least=True,
        ),
    ]


def _table(found: dict[str, bool]) -> Table:
    table = Table(title="negative controls", title_justify="left")
    table.add_column("guard taken out")
    table.add_column("noticed")
    for name, noticed in found.items():
        table.add_row(name, "yes" if noticed else "NO")
    return table


if __name__ == "__main__":
    raise SystemExit(main())
