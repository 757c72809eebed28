"""How every benchmark reports: a table, a JSON object, and exit code 1 for a missed target."""

import json
import os
import platform
import statistics
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table


@dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    """A number that an issue names."""

    name: str
    measured: float
    limit: float
    unit: str
    at_least: bool = False
    """True: the measured value must not be below the limit; else not above it."""

    @property
    def met(self) -> bool:
        return self.measured >= self.limit if self.at_least else self.measured <= self.limit


def percentile(values: Sequence[float], share: float) -> float:
    """Nearest-rank percentile of unsorted *values*; *share* in 0..1."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(share * len(ordered)))]


def spread(values: Sequence[float]) -> dict[str, float]:
    """p50, p95, mean and largest of some milliseconds."""
    return {
        "p50": round(percentile(values, 0.50), 3),
        "p95": round(percentile(values, 0.95), 3),
        "mean": round(statistics.fmean(values), 3),
        "max": round(max(values), 3),
    }


def finish(
    name: str, *, table: Table, targets: Sequence[Target], figures: dict[str, Any], to: Path | None
) -> int:
    """Print the table and the targets, write JSON, and return the exit code."""
    console = Console()
    console.print(table)
    for target in targets:
        sign = ">=" if target.at_least else "<="
        verdict = "[green]met[/]" if target.met else "[red]missed[/]"
        console.print(
            f"{verdict}  {target.name}: {target.measured:.3g} {target.unit} "
            f"(target {sign} {target.limit:g})"
        )
    if to is not None:
        document = {
            "bench": name,
            "machine": {
                "cpu": _processor(),
                "cores": len(os.sched_getaffinity(0)),
                "os": platform.system(),
            },
            "date": datetime.now(UTC).date().isoformat(),
            "code": _code(),
            "figures": figures,
            "targets": [
                {
                    "name": target.name,
                    "measured": target.measured,
                    "limit": target.limit,
                    "unit": target.unit,
                    "met": target.met,
                }
                for target in targets
            ],
        }
        to.write_text(json.dumps(document, indent=1) + "\n")
    return 0 if all(target.met for target in targets) else 1


def _processor() -> str:
    """The processor's name, from Linux."""
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()


def _code() -> str:
    """The commit that was measured; `-dirty` if files differ from it."""
    named = subprocess.run(
        ["git", "describe", "--always", "--dirty"], capture_output=True, text=True, check=False
    )
    return named.stdout.strip() or "unknown"
