"""Times as people write them on a command line: 500ms, 30m, 7d, 20/s. Each raises ValueError."""

import re
from datetime import UTC, datetime, timedelta
from typing import Final


_SECONDS: Final = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}


def seconds(text: str) -> float:
    """Read a time span: 500ms, 15s, 15, 2m."""
    found = re.fullmatch(r"(\d+(?:\.\d+)?)(ms|[smhd])?", text)
    if found is None:
        msg = "a span is a number and ms, s, m, h or d"
        raise ValueError(msg)
    return float(found[1]) * _SECONDS[found[2] or "s"]


def span(text: str) -> tuple[float, float]:
    """Read two time spans, `10ms..2s`, or one; in seconds."""
    low, dots, high = text.partition("..")
    found = (seconds(low), seconds(high if dots else low))
    if found[0] > found[1]:
        msg = "the shorter span comes first"
        raise ValueError(msg)
    return found


def per_second(text: str) -> float:
    """Read a rate: `20/s`, `20`, `600/m`."""
    found = re.fullmatch(r"(\d+(?:\.\d+)?)(?:/([smhd]))?", text)
    if found is None or not float(found[1]):
        msg = "a rate is a number over 0 and /s, /m or /h"
        raise ValueError(msg)
    return float(found[1]) / _SECONDS[found[2] or "s"]


def moment(text: str) -> datetime:
    """Read an ISO date or time (UTC unless it says), or an age: 90s, 30m, 2h, 7d."""
    if re.fullmatch(r"\d+(\.\d+)?[smhd]", text):
        try:
            return datetime.now(UTC) - timedelta(seconds=seconds(text))
        except OverflowError as error:
            msg = "no calendar goes back that far"
            raise ValueError(msg) from error
    found = datetime.fromisoformat(text)
    return found if found.tzinfo else found.replace(tzinfo=UTC)
