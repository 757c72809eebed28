"""
Guards of the queue, each taken out of the SQL on its own.

The negative control of `bench.queue_states.machine`: a machine that does not notice these would not
notice a bug of that kind either.
"""

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

import psycopg


@dataclass(frozen=True, slots=True)
class Mutant:
    """One replacement in the text of one function of the schema `segmentation`."""

    function: str
    guard: str
    instead: str


_FENCE: Final = "attempt.token is null or attempt.ended_at is not null"
_NO_FENCE: Final = "attempt.token is null"

MUTANTS: Final[dict[str, Mutant]] = {
    "complete_task asks whether the token is live": Mutant("complete_task", _FENCE, _NO_FENCE),
    "fail_task asks whether the token is live": Mutant("fail_task", _FENCE, _NO_FENCE),
    "release_task asks whether the token is live": Mutant("release_task", _FENCE, _NO_FENCE),
    "report_progress asks whether the token is live": Mutant("report_progress", _FENCE, _NO_FENCE),
    "renew_lease asks whether the token is live": Mutant(
        "renew_lease", "token = p_token\n        and ended_at is null", "token = p_token"
    ),
    "a cancel ends the attempt": Mutant(
        "cancel_task", "attempts.result_id = p_id and attempts.ended_at is null", "false"
    ),
    "a release does not count": Mutant(
        "release_task", "results.attempt_count - 1", "results.attempt_count"
    ),
    "each pass is paid": Mutant("prepare_task", "segmentation.passes(new.options)", "1"),
    "a hold comes back": Mutant(
        "release_credits", "set credits = credits + p_task.cost", "set credits = credits"
    ),
    "a cancel charges what was computed": Mutant(
        "close_task", "else results.computed end", "else 0 end"
    ),
    "what comes back moves its queue forward": Mutant(
        "set_queue_position",
        "least(queue.virtual_start, excluded.virtual_start)",
        "queue.virtual_start",
    ),
    "tasks in flight are capped": Mutant(
        "pick_tasks", "when tiers.max_in_flight is null then", "when true then"
    ),
    "a backoff is waited for": Mutant("pick_tasks", "pending.run_after <= now()", "true"),
    "an expired task is not begun": Mutant(
        "pick_tasks", "coalesce(pending.expires_at > now(), true)", "true"
    ),
    "who is begun waits no longer": Mutant(
        "advance_user_queues", "queue.waiting - head.begun", "queue.waiting"
    ),
    "who is cancelled waits no longer": Mutant("leave_queue", "queue.waiting - 1", "queue.waiting"),
    "what was begun once does not expire": Mutant(
        "expire_tasks", "results.started_at is null", "true"
    ),
    "what a pipeline cannot do waits": Mutant(
        "release_task", "then now() + wait else", "then results.run_after else"
    ),
    "who is online is asked": Mutant("blocked_reason", "segmentation.is_online(workers) and ", ""),
    "who is next is asked": Mutant("pick_tasks", "pending.virtual_start <= bound", "true"),
    "a floor rises when memory runs out": Mutant(
        "raise_memory_floor", "set queue_class_id = class.id", "set queue_class_id = queue_class_id"
    ),
}


@contextlib.contextmanager
def mutated(db_url: str, mutant: Mutant) -> Iterator[None]:
    """Take a guard out, and put it back in the end."""
    with psycopg.connect(db_url, autocommit=True) as connection:
        row = connection.execute(
            "select pg_get_functiondef(%s::regproc)", [f"segmentation.{mutant.function}"]
        ).fetchone()
        original = str(row[0]) if row else ""
        if original.count(mutant.guard) != 1:
            msg = f"{mutant.function} does not say once: {mutant.guard}"
            raise ValueError(msg)
        connection.execute(original.replace(mutant.guard, mutant.instead).encode())
        try:
            yield
        finally:
            connection.execute(original.encode())
