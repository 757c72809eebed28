"""Whether the queue's rows are what the model says: asked after each step of the state machine."""

import math
from collections.abc import Callable
from typing import Final

from bench.queue_states.database import Database, Row
from bench.queue_states.model import QueueModel
from bench.queue_states.model_rows import Task
from s3_sam3.contracts.tasks import FINAL_STATUSES, TaskStatus


PATIENCE: Final = 16
"""Seconds that every backoff is made to last: less than the shortest skip."""
LONGEST: Final = 300
"""Seconds, before the jitter."""


def rows_are_as_the_model_says(database: Database, model: QueueModel) -> None:
    """Status, attempts, charge, reason, class and result of each task."""
    rows = database.rows(
        "select task.*, class.memory_mb, segmentation.blocked_reason(class) as blocked_by"
        " from public.segmentation_results as task"
        " inner join segmentation.queue_classes as class on class.id = task.queue_class_id"
    )
    now = database.now()
    assert {str(row["id"]) for row in rows} == set(model.tasks)
    for row in rows:
        task = model.tasks[str(row["id"])]
        found = {name: row[name] for name in ("attempt_count", "computed", "charged")}
        if task.status is TaskStatus.DONE:
            del found["computed"]
        expected = {name: getattr(task, name) for name in found}
        assert found == expected, (found, expected)
        assert (row["status"], row["error_code"]) == (task.status, task.code)
        if task.status is TaskStatus.PENDING:
            assert row["memory_mb"] == task.memory_mb, "waits in a wrong class"
            can_start = row["blocked_by"] is None
            assert can_start == model.can_start(task, now), "says wrongly who can do it"
        _check_result(row, task)
        _check_backoff(database, row, task)


def open_attempts_are_as_the_model_says(database: Database, model: QueueModel) -> None:
    """One at most for each task, and no user beyond their cap."""
    rows = database.rows(
        "select token, user_id, result_id from segmentation.attempts where ended_at is null"
    )
    live = {each.token for each in model.attempts.values() if each.outcome is None}
    assert {row["token"] for row in rows} == live
    assert len({row["result_id"] for row in rows}) == len(rows)
    for user, cap in model.caps.items():
        in_flight = sum(str(row["user_id"]) == user for row in rows)
        assert cap is None or in_flight <= cap, "more tasks in flight than allowed"


def nobody_is_forgotten(database: Database, model: QueueModel) -> None:
    """Each pending task's user has a queue in its class, no later than the task."""
    in_line = database.rows(
        """
        select task.id from public.segmentation_results as task
        inner join segmentation.user_queues as queue
            on queue.user_id = task.user_id and queue.queue_class_id = task.queue_class_id
        where task.status = 'pending' and queue.virtual_start <= task.virtual_start
        """
    )
    waiting = {each.id for each in model.tasks.values() if each.status is TaskStatus.PENDING}
    assert {str(row["id"]) for row in in_line} == waiting, "no queue leads to a task"


def who_waits_is_counted(database: Database, model: QueueModel) -> None:
    """Each user queue says how many tasks wait in it."""
    del model
    miscounted = database.rows(
        """
        select queue.queue_class_id, queue.user_id, queue.waiting, count(task.id) as found
        from segmentation.user_queues as queue
        left join public.segmentation_results as task
            on queue.user_id = task.user_id and queue.queue_class_id = task.queue_class_id
            and task.status = 'pending'
        group by queue.queue_class_id, queue.user_id, queue.waiting
        having queue.waiting <> count(task.id)
        """
    )
    assert miscounted == [], "a queue counts others than those that wait"


def money_is_conserved(database: Database, model: QueueModel) -> None:
    """Balances, one settlement for each final task, and the ledger's own check."""
    assert database.rows("select * from segmentation.ledger_mismatches()") == []
    rows = database.rows("select id, credits from public.users_profile")
    assert {str(row["id"]): row["credits"] for row in rows} == model.balances
    settled = database.rows(
        """
        select
            result_id,
            count(*) filter (where action in ('capture', 'release')) as settlements,
            coalesce(sum(credits_used) filter (where action = 'hold'), 0) as held,
            coalesce(sum(credits_used) filter (where action = 'capture'), 0) as captured
        from public.usage_logs
        where result_id is not null
        group by result_id
        having count(*) > 1
        """
    )
    assert {row["settlements"] for row in settled} <= {1}
    found = {str(row["result_id"]): (row["held"], row["captured"]) for row in settled}
    assert found == model.settled


def _check_result(row: Row, task: Task) -> None:
    """A result is there when done, and it is the winner's."""
    key = row["manifest_url"]
    assert (key is not None) == (task.winner is not None)
    assert key is None or f"/{task.winner}/" in key, "the result of a stale attempt"
    assert (row["finished_at"] is not None) == (task.status in FINAL_STATUSES)


def _check_backoff(database: Database, row: Row, task: Task) -> None:
    """
    A retry waits as long as it should; the model takes over how long that is.

    Then all of them wait equally long, for chance is in the backoff, and a slow machine would sit
    a short one out: no way could be gone twice.
    """
    run_after = row["run_after"].timestamp()
    if task.status is TaskStatus.PENDING and math.isnan(task.run_after):
        wait = run_after - row["updated_at"].timestamp()
        assert 0.5 <= wait / min(LONGEST, 2**task.waits) <= 1.5 + 1e-3, "an odd backoff"
        run_after = row["updated_at"].timestamp() + PATIENCE
        database.rows(
            "update public.segmentation_results set run_after = to_timestamp(%s) where id = %s",
            run_after,
            task.id,
        )
        task.run_after = run_after


CHECKS: Final[tuple[Callable[[Database, QueueModel], None], ...]] = (
    rows_are_as_the_model_says,
    open_attempts_are_as_the_model_says,
    nobody_is_forgotten,
    who_waits_is_counted,
    money_is_conserved,
)
