"""What the command line says about a task that is not done."""

from datetime import UTC, datetime
from typing import Any
from uuid import UUID

import pytest

from s3_sam3.cli import show
from s3_sam3.contracts import bodies
from s3_sam3.contracts.errors import FACTS, ErrorCode
from s3_sam3.contracts.tasks import TaskStatus


def task(**what: Any) -> bodies.Task:
    """A pending task, unless *what* says otherwise."""
    return bodies.Task(
        **{
            "task_id": UUID(int=1),
            "status": TaskStatus.PENDING,
            "progress": 0,
            "credits": 3,
            "attempt_count": 0,
            "created_at": datetime.now(UTC),
            **what,
        }
    )


def error(code: ErrorCode) -> bodies.TaskError:
    """That code with its sentence."""
    fact = FACTS[code]
    return bodies.TaskError(code=code, message=fact.message, retryable=fact.retryable)


WAITS: dict[str, dict[str, Any]] = {
    "waits: 3 in front, about 12 s": {"queue_position": 3, "eta_seconds": 12},
    "waits: next, about 2 min": {"queue_position": 0, "eta_seconds": 120},
    "waits: 999 in front": {"queue_position": 999},
    "waits: 1,000 or more in front, about 2 h": {
        "queue_position": 1000,
        "eta_seconds": 7200,
    },
    "waits": {},
    "waits: no machine online can do this": {
        "queue_position": 0,
        "blocked_by": error(ErrorCode.NO_CAPABLE_WORKER),
    },
    "processing": {"status": TaskStatus.PROCESSING},
}


@pytest.mark.parametrize("said", WAITS)
def test_a_waiting_task_says_what_it_waits_for(said: str) -> None:
    """Position and time if they are known; first of all that no machine can do it."""
    assert show.waits(task(**WAITS[said])) == said


def test_an_expired_task_says_why_and_that_it_was_free() -> None:
    """The one line of `s3 status` names the code and the charge."""
    expired = task(status=TaskStatus.CANCELLED, error=error(ErrorCode.EXPIRED), credits_charged=0)

    line = show.status_line(expired)

    assert "expired" in line
    assert "0 of 3 credits charged" in line
