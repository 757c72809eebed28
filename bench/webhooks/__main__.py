"""
Deliveries per second, and what one costs, against a plain loop without log and signature.

    python -m bench.webhooks [--messages 2000] [--rounds 5] [--quick] [--json FILE]

Each round sends the same bodies to the same receiver twice: by a real `python -m webhooks.delivery`
from the database on the embedded platform, and by a bare aiohttp loop that has them in memory.
"""

import argparse
import asyncio
import statistics
from pathlib import Path

from rich.progress import track
from rich.table import Table

from bench import report
from bench.webhooks.stage import Spent, staged


WARM_UP_MESSAGES = 200


def main() -> int:
    """Measure, print, and return the exit code."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--messages", type=int, default=2000, help="per round")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--quick", action="store_true", help="3 rounds of 400, under a minute")
    parser.add_argument("--json", type=Path)
    asked = parser.parse_args()
    messages, rounds = (400, 3) if asked.quick else (asked.messages, asked.rounds)
    ours, plain = asyncio.run(_measure(messages, rounds))
    figures = {
        "messages": messages,
        "rounds": rounds,
        "dispatcher": _figures(ours),
        "plain": _figures(plain),
        "ratio": {
            "rate": _spread([a.rate / b.rate for a, b in zip(ours, plain, strict=True)]),
            "sender_cpu": _spread([a.cpu_ms / b.cpu_ms for a, b in zip(ours, plain, strict=True)]),
        },
        "added_sender_cpu_ms": _spread(
            [a.cpu_ms - b.cpu_ms for a, b in zip(ours, plain, strict=True)]
        ),
    }
    return report.finish(
        "webhooks",
        table=_table(ours, plain),
        targets=[
            report.Target(name=f"{name} by the dispatcher", measured=count, limit=0, unit="")
            for name, count in (
                ("lost", sum(spent.lost for spent in ours)),
                ("sent twice", sum(spent.doubled for spent in ours)),
            )
        ],
        figures=figures,
        to=asked.json,
    )


async def _measure(messages: int, rounds: int) -> tuple[list[Spent], list[Spent]]:
    ours: list[Spent] = []
    plain: list[Spent] = []
    async with staged() as stage:
        _, warm = await stage.dispatched(WARM_UP_MESSAGES)
        await stage.plain(warm)
        for _ in track(range(rounds), description="rounds"):
            spent, bodies = await stage.dispatched(messages)
            ours.append(spent)
            plain.append(await stage.plain(bodies))
    return ours, plain


def _figures(sides: list[Spent]) -> dict[str, dict[str, float]]:
    found = {
        "per_second": [spent.rate for spent in sides],
        "sender_cpu_ms": [spent.cpu_ms for spent in sides],
        "gateway_cpu_ms": [1000 * spent.gateway_cpu / spent.count for spent in sides],
        "postgres_cpu_ms": [1000 * spent.postgres_cpu / spent.count for spent in sides],
    }
    return {name: _spread(values) for name, values in found.items() if any(values)}


def _spread(values: list[float]) -> dict[str, float]:
    return {
        "median": round(statistics.median(values), 3),
        "min": round(min(values), 3),
        "max": round(max(values), 3),
    }


def _table(ours: list[Spent], plain: list[Spent]) -> Table:
    table = Table(title="webhooks to one receiver, median (min to max) of the rounds")
    for column in ("", "dispatcher", "plain loop", "ratio"):
        table.add_column(column, justify="right" if column else "left")
    rows = {
        "deliveries per second": [[spent.rate for spent in side] for side in (ours, plain)],
        "CPU of the sender, ms each": [[spent.cpu_ms for spent in side] for side in (ours, plain)],
        "CPU of PostgreSQL, ms each": [[1e3 * s.postgres_cpu / s.count for s in ours], []],
        "CPU of the devstack's gateway, ms each": [
            [1e3 * s.gateway_cpu / s.count for s in ours],
            [],
        ],
    }
    for name, (here, there) in rows.items():
        ratios = [a / b for a, b in zip(here, there, strict=False)]
        table.add_row(name, *(_cell(values) for values in (here, there, ratios)))
    return table


def _cell(values: list[float]) -> str:
    if not values:
        return ""
    return f"{statistics.median(values):.2f} ({min(values):.2f} to {max(values):.2f})"


if __name__ == "__main__":
    raise SystemExit(main())
