"""The result of a benchmark section, and figures measured several times."""

import statistics
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from rich.table import Table

from bench import report


@dataclass(frozen=True, slots=True, kw_only=True)
class Part:
    """One section's results."""

    table: Table
    figures: dict[str, Any]
    targets: list[report.Target] = field(default_factory=list)


def new_table(title: str, *columns: str) -> Table:
    """Start a table whose first column says what, and whose others are numbers."""
    table = Table(title=title, title_justify="left")
    for place, column in enumerate(columns):
        table.add_column(column, justify="right" if place else "left")
    return table


def spread(values: Sequence[float], digits: int = 3) -> dict[str, float]:
    """Median, least and most, which is what a few rounds allow."""
    return {
        "median": round(statistics.median(values), digits),
        "min": round(min(values), digits),
        "max": round(max(values), digits),
    }


def cell(values: Sequence[float], unit: str = "") -> str:
    """Median, least and most, for a table."""
    median, low, high = statistics.median(values), min(values), max(values)
    if len(values) == 1:
        return f"{median:.3g}{unit}"
    return f"{median:.3g}{unit} ({low:.3g} to {high:.3g})"
