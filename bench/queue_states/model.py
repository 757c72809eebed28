"""
The queue as a model: what each transition answers, and what it leaves behind.

Plain Python, no database: what `docs/sql-interface.md` promises, for one caller after another.
Instants are seconds. Which tasks a claim takes is the database's choice; the model says whether
the choice was fair, complete and allowed.
"""

from collections.abc import Collection, Iterable
from dataclasses import dataclass, field
from typing import Final

from bench.queue_states.model_rows import Attempt, Task
from s3_sam3.contracts.errors import FACTS, ErrorCode
from s3_sam3.contracts.tasks import FINAL_STATUSES, ReleaseReason, TaskStatus


MAX_ATTEMPTS: Final = 3
MAX_UNABLE: Final = 10
MEMORY_CLASSES: Final = (0, 7372, 14745, 22118, 29491, 44236, 73728, 129945, 1048576)
"""MiB; what a task needs is rounded up to one of these."""
ONLINE_SECONDS: Final = 120.0
NOTED_SECONDS: Final = 10.0
"""A worker's last sign of life is written this rarely."""


@dataclass
class QueueModel:
    """Balances, tasks and attempts, as they ought to be."""

    caps: dict[str, int | None]
    """Tasks in flight that each user may have."""
    balances: dict[str, int]
    tasks: dict[str, Task] = field(default_factory=dict)
    attempts: dict[int, Attempt] = field(default_factory=dict)
    workers: dict[str, tuple[int, float]] = field(default_factory=dict)
    """Memory and last sign of life of each worker."""
    settled: dict[str, tuple[int, int]] = field(default_factory=dict)
    """Cost and charge of each final task, also of the deleted ones."""

    def submit(self, task: Task) -> None:
        """A task was taken in: behind what waits of its user, and paid for."""
        for other in self.tasks.values():
            waits = other.user == task.user and other.status is TaskStatus.PENDING
            assert not waits or other.virtual_start < task.virtual_start, (
                "no later than the one before"
            )
        self.balances[task.user] -= task.cost
        self.tasks[task.id] = task

    def open_attempt(self, task: Task) -> Attempt | None:
        """The lease on a task."""
        mine = (each for each in self.attempts.values() if each.task is task)
        return next((each for each in mine if each.outcome is None), None)

    def has_room(self, user: str) -> bool:
        """Whether one more task of a user may be in work."""
        cap = self.caps[user]
        live = (each for each in self.attempts.values() if each.outcome is None)
        return cap is None or sum(each.task.user == user for each in live) < cap

    def note(self, worker: str, memory_mb: int, now: float) -> None:
        """A worker gave a sign of life."""
        known = self.workers.get(worker)
        if known is None or known[0] != memory_mb or now - known[1] > NOTED_SECONDS:
            self.workers[worker] = (memory_mb, now)

    def claim(self, opened: Collection[Attempt], limit: int, now: float, memory_mb: int) -> None:
        """Take over what a claim has opened, if it was right. *now*: just before the call."""
        for each in opened:
            assert each.task.status is TaskStatus.PENDING, "claimed what was not pending"
            assert each.task.memory_mb <= each.memory_mb, "claimed what does not fit"
            each.task.status = TaskStatus.PROCESSING
            each.task.begun = True
            each.task.attempt_count += 1
            each.task.computed = 0
            self.attempts[each.token] = each
        assert len(opened) <= limit, "more tasks than asked for"
        left = [task for task in self.tasks.values() if task.due(now, memory_mb)]
        self._check_order([each.task for each in opened], left, full=len(opened) == limit)

    def _check_order(self, claimed: list[Task], left: Iterable[Task], *, full: bool) -> None:
        for task in left:
            rivals = [each for each in claimed if each.user == task.user]
            if self.has_room(task.user):
                assert full, "a claim left something due behind"
                rivals = claimed
            # Two users may have the same virtual start.
            assert all(each.virtual_start <= task.virtual_start for each in rivals), (
                "claimed out of order"
            )

    def renew(self, token: int, now: float) -> str:
        """Keep an attempt alive."""
        attempt = self.attempts.get(token)
        if attempt is None or attempt.outcome or attempt.deadline <= now:
            return "stale"
        return "ok"

    def progress(self, token: int, computed: int | None) -> str:
        """Report what is computed."""
        attempt = self.attempts.get(token)
        if attempt is None or attempt.outcome:
            return "stale"
        task = attempt.task
        task.computed = max(task.computed, min(computed or 0, task.cost))
        return "ok"

    def complete(self, token: int) -> str:
        """Store a result."""
        answer = self._end(token, "done")
        if answer == "ok":
            task = self.attempts[token].task
            task.winner = token
            self._settle(task, TaskStatus.DONE, task.cost)
        return answer

    def fail(self, token: int, code: ErrorCode, now: float) -> str:
        """Give an attempt up."""
        answer = self._end(token, "failed")
        if answer == "ok":
            attempt = self.attempts[token]
            hopeless = False
            if code is ErrorCode.OUT_OF_MEMORY:
                more = min(one for one in MEMORY_CLASSES if one > attempt.memory_mb)
                attempt.task.memory_mb = max(attempt.task.memory_mb, more)
                hopeless = not self.can_start(attempt.task, now)
            self._retry_or_fail(attempt.task, code, hopeless=hopeless)
        return answer

    def release(self, token: int, reason: ReleaseReason) -> str:
        """Give a task back unharmed."""
        answer = self._end(token, "released")
        if answer == "ok":
            task = self.attempts[token].task
            task.unable += reason is ReleaseReason.UNABLE
            if reason is ReleaseReason.UNABLE and task.unable > MAX_UNABLE:
                self._retry_or_fail(task, ErrorCode.INTERNAL)
                return answer
            task.attempt_count -= 1
            self._send_back(task)
            if reason is ReleaseReason.UNABLE:
                self._wait(task, task.unable)
        return answer

    def cancel(self, task_id: str) -> str:
        """Withdraw a task; what was computed is charged."""
        task = self.tasks[task_id]
        if task.status in FINAL_STATUSES:
            return "already_final"
        running = self.open_attempt(task)
        if running:
            running.outcome = "cancelled"
        self._settle(task, TaskStatus.CANCELLED, task.computed)
        return "ok"

    def delete(self, task_id: str) -> None:
        """Remove a task and its attempts; the ledger stays."""
        self.cancel(task_id)
        task = self.tasks.pop(task_id)
        self.attempts = {
            token: each for token, each in self.attempts.items() if each.task is not task
        }

    def reap(self, now: float) -> int:
        """Cancel what nobody began in time, and end silent attempts."""
        for task in self.tasks.values():
            late = task.expires_at is not None and task.expires_at <= now
            if late and not task.begun and task.status is TaskStatus.PENDING:
                task.code = ErrorCode.EXPIRED
                self._settle(task, TaskStatus.CANCELLED, 0)
        silent = [
            each for each in self.attempts.values() if each.outcome is None and each.lease <= now
        ]
        for each in silent:
            late = each.deadline <= now
            code = ErrorCode.DEADLINE_EXCEEDED if late else ErrorCode.LEASE_EXPIRED
            each.outcome = code.value
            self._retry_or_fail(each.task, code)
        return len(silent)

    def skip(self, seconds: float) -> None:
        """Let time pass: all instants move back."""
        for task in self.tasks.values():
            task.run_after -= seconds
            if task.expires_at is not None:
                task.expires_at -= seconds
        for each in self.attempts.values():
            each.lease -= seconds
            each.deadline -= seconds
        self.workers = {name: (mb, seen - seconds) for name, (mb, seen) in self.workers.items()}

    def can_start(self, task: Task, now: float) -> bool:
        """Whether a worker that is online has the memory."""
        return any(
            mb >= task.memory_mb and now - seen < ONLINE_SECONDS
            for mb, seen in self.workers.values()
        )

    def _end(self, token: int, outcome: str) -> str:
        attempt = self.attempts.get(token)
        if attempt is None:
            return "stale"
        if attempt.outcome:
            return "duplicate" if attempt.outcome == outcome else "stale"
        attempt.outcome = outcome
        return "ok"

    def _retry_or_fail(self, task: Task, code: ErrorCode, *, hopeless: bool = False) -> None:
        fact = FACTS[code]
        if fact.retryable and not hopeless and task.attempt_count < MAX_ATTEMPTS:
            self._send_back(task)
            self._wait(task, task.attempt_count)
            return
        task.code = code
        self._settle(task, TaskStatus.FAILED, 0 if fact.refund == "all" else task.computed)

    def _send_back(self, task: Task) -> None:
        task.status = TaskStatus.PENDING
        task.computed = 0

    def _wait(self, task: Task, times: int) -> None:
        task.waits = times
        task.run_after = float("nan")  # drawn by the database; the machine reads it back

    def _settle(self, task: Task, status: TaskStatus, charge: int) -> None:
        task.status = status
        task.charged = charge
        self.balances[task.user] += task.cost - charge
        self.settled[task.id] = (task.cost, charge)
