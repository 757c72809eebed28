"""Which messages a command line means."""

from datetime import UTC, datetime
from typing import Any

import pytest
from failing_receiver import message

from s3_sam3.messages import Attempt
from webhooks.replay.selection import Mode, Selection


def at(hour: int) -> datetime:
    """An hour of a day."""
    return datetime(2026, 11, 24, hour, tzinfo=UTC)


OK = message(
    id="ok", key="t1", created_at=at(1), last=Attempt(status=204, latency_ms=1), type="task.done"
)
BUSY = message(
    id="busy",
    key="t1",
    created_at=at(2),
    last=Attempt(status=503, latency_ms=1),
    type="task.failed",
)
DEAF = message(
    id="deaf", key="t2", created_at=at(3), last=Attempt(status=None, latency_ms=1), type="task.done"
)
NEVER = message(id="never", key="t3", created_at=at(4), last=None, type="INSERT")


@pytest.mark.parametrize(
    ("filters", "meant"),
    [
        ({}, ["ok", "busy", "deaf", "never"]),
        ({"mode": Mode.RECOVER}, ["busy", "deaf"]),
        ({"mode": Mode.MISSING}, ["never"]),
        ({"mode": Mode.RECOVER, "code": "2xx"}, []),
        ({"since": at(2)}, ["busy", "deaf", "never"]),
        ({"until": at(2)}, ["ok"]),
        ({"since": at(2), "until": at(3)}, ["busy"]),
        ({"ids": ("never", "ok")}, ["ok", "never"]),
        ({"tasks": ("t1",)}, ["ok", "busy"]),
        ({"types": ("task.*",)}, ["ok", "busy", "deaf"]),
        ({"types": ("task.failed", "INSERT")}, ["busy", "never"]),
        ({"code": "5xx"}, ["busy"]),
        ({"code": "503"}, ["busy"]),
        ({"code": "2xx"}, ["ok"]),
        ({"code": "500"}, []),
        ({"code": "none"}, ["deaf"]),
        ({"limit": 2}, ["ok", "busy"]),
        ({"mode": Mode.RECOVER, "limit": 1}, ["busy"]),
    ],
)
def test_each_filter_that_is_given_must_hold(filters: dict[str, Any], meant: list[str]) -> None:
    """The oldest come first, and the limit counts last."""
    chosen = Selection(**filters).of([NEVER, DEAF, BUSY, OK])

    assert [each.id for each in chosen] == meant
