"""What the rounds of `throughput` say: ratios, a table, and what the JSON keeps."""

import statistics
from collections.abc import Callable
from typing import Final

from rich.table import Table

from bench import report
from bench.queue.throughput import CONNECTIONS, WARM_UP_JOBS, Entry, Lap


SPEEDS: Final[dict[str, Callable[[Lap], float]]] = {
    "claims": lambda lap: lap.claims_per_second,
    "completions": lambda lap: lap.completions_per_second,
    "jobs": lambda lap: lap.jobs_per_second,
}
"""What is compared; a job is a claim and a completion."""


def ratios(
    entries: list[Entry], speed: Callable[[Lap], float], *, lean: bool = False
) -> list[float]:
    """A speed of ours by ten, over Procrastinate's, round by round."""
    suffix = ", lean" if lean else ""
    named = {entry.name: entry.laps for entry in entries}
    pairs = zip(named["ours, by ten" + suffix], named["procrastinate" + suffix], strict=True)
    return [speed(mine) / speed(other) for mine, other in pairs]


def target(entries: list[Entry], depth: int) -> report.Target:
    """The issue's number: at batch claims. What a completion does more is reported, no target."""
    return report.Target(
        name=f"claims per second over Procrastinate's, by ten, {depth} pending",
        measured=statistics.median(ratios(entries, SPEEDS["claims"])),
        limit=1.0,
        unit="x",
        at_least=True,
    )


def figures(entries: list[Entry]) -> dict[str, object]:
    """What the JSON keeps."""
    return {
        **{
            f"{name}_ratio{'_lean' if lean else ''}": _range(ratios(entries, speed, lean=lean))
            for name, speed in SPEEDS.items()
            for lean in (False, True)
        },
        **{entry.name: _summary(entry.laps) for entry in entries},
    }


def _summary(laps: list[Lap]) -> dict[str, object]:
    jobs = laps[0].jobs + WARM_UP_JOBS
    return {
        "jobs_per_second": _range([lap.jobs_per_second for lap in laps]),
        "claims_per_second": _range([lap.claims_per_second for lap in laps]),
        "completions_per_second": _range([lap.completions_per_second for lap in laps]),
        "wal_bytes_per_job": round(statistics.median(lap.wal_bytes for lap in laps)),
        "row_versions_per_job": round(statistics.median(lap.updated for lap in laps) / jobs, 2),
        "hot_per_job": round(statistics.median(lap.hot for lap in laps) / jobs, 2),
        "dead_tuples_per_job": round(statistics.median(lap.dead for lap in laps) / jobs, 2),
    }


def _range(values: list[float]) -> dict[str, float]:
    return {
        "median": round(statistics.median(values), 2),
        "min": round(min(values), 2),
        "max": round(max(values), 2),
    }


def table(entries: list[Entry], depth: int) -> Table:
    """One line per entry."""
    rounds = len(entries[0].laps)
    shown = Table(
        title=f"{depth} pending, {CONNECTIONS} connections, {rounds} rounds (medians)",
        title_justify="left",
    )
    shown.add_column("queue")
    for column in ("jobs/s", "claims/s", "done/s", "WAL B/job", "dead/job"):
        shown.add_column(column, justify="right")
    for entry in entries:
        jobs = entry.laps[0].jobs + WARM_UP_JOBS
        shown.add_row(
            entry.name,
            *(
                f"{statistics.median(values):.0f}"
                for values in (
                    [lap.jobs_per_second for lap in entry.laps],
                    [lap.claims_per_second for lap in entry.laps],
                    [lap.completions_per_second for lap in entry.laps],
                    [lap.wal_bytes for lap in entry.laps],
                )
            ),
            f"{statistics.median(lap.dead for lap in entry.laps) / jobs:.1f}",
        )
    return shown
