"""
The queue, measured: against Procrastinate, as it fills, and between its users.

    python -m bench.queue [--quick] [--json FILE]

Everything runs on a PostgreSQL of its own that starts from pip's binaries, and the pick-up on an
embedded platform of its own; see the modules' first lines for what each part does and how.
"""

import argparse
import asyncio
import functools
import tempfile
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.progress import track

from bench import report
from bench.queue import fairness, growth, pickup, server, standings, throughput


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """How much of everything."""

    depths: tuple[int, ...]
    jobs: int
    rounds: int
    sizes: tuple[int, ...]
    claims: dict[int, int]
    """Batch to number of claims timed at each size."""
    many: int
    pickups: int
    poll_seconds: float
    gap_seconds: float


WHOLE = Plan(
    depths=(10_000, 100_000),
    jobs=800,
    rounds=7,
    sizes=(1_000, 10_000, 100_000, 1_000_000),
    claims={1: 100, 10: 60},
    many=2000,
    pickups=150,
    # The listener's default.
    poll_seconds=10.0,
    # No more between two polls than there is room for.
    gap_seconds=0.4,
)
QUICK = Plan(
    depths=(10_000,),
    jobs=200,
    rounds=3,
    sizes=(1_000, 10_000),
    claims={1: 40, 10: 20},
    many=500,
    pickups=40,
    poll_seconds=2.0,
    gap_seconds=0.05,
)

Part = tuple[list[report.Target], dict[str, Any]]
Measure = Callable[[server.Server, Plan, Console], Awaitable[Part]]


def main() -> int:
    """Measure, print, and return the exit code."""
    parser = argparse.ArgumentParser(prog="python -m bench.queue", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="less of everything, under a minute")
    parser.add_argument("--json", type=Path)
    asked = parser.parse_args()
    plan = QUICK if asked.quick else WHOLE
    return asyncio.run(_measure(plan, asked.json))


async def _measure(plan: Plan, to: Path | None) -> int:
    console = Console()
    targets: list[report.Target] = []
    figures: dict[str, Any] = {}
    with tempfile.TemporaryDirectory(prefix="s3-bench-") as root:
        async with server.serving(Path(root) / "state") as postgres:
            for name, part in track(_parts(plan), description="parts", console=console):
                met, figures[name] = await part(postgres, plan, console)
                targets += met
    waits = await pickup.measure(
        tasks=plan.pickups, poll_seconds=plan.poll_seconds, gap_seconds=plan.gap_seconds
    )
    return report.finish(
        "queue",
        table=pickup.table(waits, poll_seconds=plan.poll_seconds),
        targets=[*targets, *pickup.targets(waits, poll_seconds=plan.poll_seconds)],
        figures={**figures, "pick-up, milliseconds": pickup.figures(waits)},
        to=to,
    )


def _parts(plan: Plan) -> list[tuple[str, Measure]]:
    drains: list[tuple[str, Measure]] = [
        (f"throughput at {depth}", functools.partial(_throughput, depth=depth))
        for depth in plan.depths
    ]
    return [("fairness", _fairness), *drains, ("growth", _growth)]


async def _fairness(postgres: server.Server, plan: Plan, console: Console) -> Part:
    served = await fairness.small_behind_large(postgres, many=plan.many)
    across = await fairness.small_behind_large(postgres, many=plan.many, small="free")
    who = {
        f"{fairness.FEW} behind {plan.many}, both internal": served,
        f"{fairness.FEW} of a free user behind {plan.many} of an internal one": across,
    }
    taken = await fairness.shares(postgres)
    console.print(fairness.table(who, taken))
    return [fairness.target(served, plan.many)], {"served at claims": who, "claims by tier": taken}


async def _throughput(postgres: server.Server, plan: Plan, console: Console, *, depth: int) -> Part:
    entries = await throughput.measure(postgres, depth=depth, jobs=plan.jobs, rounds=plan.rounds)
    console.print(standings.table(entries, depth))
    return [standings.target(entries, depth)], standings.figures(entries)


async def _growth(postgres: server.Server, plan: Plan, console: Console) -> Part:
    times = await growth.measure(postgres, sizes=plan.sizes, claims=plan.claims)
    console.print(growth.table(times))
    return growth.targets(times), growth.figures(times)


if __name__ == "__main__":
    raise SystemExit(main())
