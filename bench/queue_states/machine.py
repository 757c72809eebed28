"""
The state machine: the real queue and its model, side by side.

Hypothesis draws a way through submit, claim, renew, progress, complete, fail, cancel, delete,
release, reap and time. Each answer of PostgreSQL is compared with the model's, and after each step
all rows are.
"""

import uuid
from collections.abc import Callable
from functools import partial
from typing import Any, Final, cast

import psycopg
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    Bundle,
    RuleBasedStateMachine,
    consumes,
    invariant,
    multiple,
    rule,
    run_state_machine_as_test,
)
from typing_extensions import override

from bench.queue_states import agreement, clock
from bench.queue_states.database import SERVICE, Database
from bench.queue_states.model import QueueModel
from bench.queue_states.model_rows import Attempt, Task
from s3_sam3.contracts.errors import ErrorCode
from s3_sam3.contracts.prompts import SegmentOptions
from s3_sam3.contracts.tasks import ReleaseReason


WORKERS: Final = {"small": 16 * 1024, "large": 32 * 1024}
"""Two workers and their memory, MiB."""
NEEDS: Final = (0, 29491)
CREDITS: Final = 100
CAP: Final = 2
"""Tasks of a free user in flight while the machine runs, so that it matters."""
SKIPS: Final = (23, 71, 307)
"""Seconds. No sum of them lies near a lease, a deadline or the two minutes of `online`."""
CODES: Final = (ErrorCode.INVALID_IMAGE, ErrorCode.PIPELINE_FAILED, ErrorCode.OUT_OF_MEMORY)


def run_machine(factory: Callable[[], "QueueMachine"], chosen: settings) -> None:
    """Go random ways; raises what the first way to a mismatch raised."""
    # Any callable will do, though its annotation wants a class.
    run_state_machine_as_test(cast("type[RuleBasedStateMachine]", factory), settings=chosen)


class QueueMachine(RuleBasedStateMachine):
    """One connection, three users, two workers."""

    tasks: Bundle[str] = Bundle("tasks")
    tokens: Bundle[int] = Bundle("tokens")

    def __init__(self, db_url: str) -> None:
        """Begin on an empty queue at *db_url* (the superuser's)."""
        super().__init__()
        self.steps = 0
        self.database = Database(db_url)
        for command in clock.EMPTY:
            self.database.rows(command)
        [tier] = self.database.rows(
            "select max_in_flight from segmentation.tiers where tier = 'free'"
        )
        self.cap_before = tier["max_in_flight"]
        self._cap(CAP)
        self.users = [str(uuid.UUID(int=number)) for number in (1, 2, 3)]
        for user in self.users:
            self.database.rows("insert into auth.users (id) values (%s)", user)
        self.database.call(SERVICE, "set_user_tier", p_user_id=self.users[2], p_tier="pro")
        self.model = QueueModel(
            caps=dict(zip(self.users, (CAP, CAP, 64), strict=True)),
            balances=dict.fromkeys(self.users, CREDITS),
        )

    @override
    def teardown(self) -> None:
        """Put the tier back."""
        self._cap(self.cap_before)
        self.database.close()

    @rule(
        target=tasks,
        user=st.integers(0, 2),
        prompts=st.integers(1, 3),
        tiles=st.sampled_from([1, 1, 1, 2]),
        deadline=st.sampled_from([None, None, 50]),
        memory_mb=st.sampled_from(NEEDS),
        count=st.integers(1, 3),
    )
    def submit(
        self,
        user: int,
        prompts: int,
        tiles: int,
        deadline: int | None,
        memory_mb: int,
        count: int,
    ) -> Any:
        """A user asks for something, or for the same several times, until the credits are gone."""
        asked = (self.users[user], prompts, tiles, deadline, memory_mb)
        taken = [self._submit(*asked) for _ in range(count)]
        return multiple(*(task for task in taken if task is not None))

    def _submit(
        self,
        owner: str,
        prompts: int,
        tiles: int,
        deadline: int | None,
        memory_mb: int,
    ) -> str | None:
        cost = prompts * SegmentOptions(tiles=tiles).passes
        submit = partial(
            self.database.call,
            owner,
            "submit_task",
            p_source_image_url=f"uploads/{owner}/a.png",
            p_prompts=[{"text": "cat"}] * prompts,
            p_options={"tiles": tiles},
            p_deadline_seconds=deadline,
            p_needs={"memory_mb": memory_mb},
        )
        if cost > self.model.balances[owner]:
            self._refused(submit)
            return None
        row = submit()["task"]
        stored = self.database.rows(
            "select * from public.segmentation_results where id = %s", row["id"]
        )[0]
        task = Task(
            id=row["id"],
            user=owner,
            cost=cost,
            virtual_start=stored["virtual_start"],
            run_after=stored["run_after"].timestamp(),
            expires_at=stored["expires_at"].timestamp() if deadline else None,
            memory_mb=memory_mb,
        )
        self.model.submit(task)
        return task.id

    @staticmethod
    def _refused(submit: Callable[[], Any]) -> None:
        """Nobody is given what they cannot pay."""
        try:
            submit()
        except psycopg.Error as error:
            said = str(error)
        else:
            said = "a task was queued that its user cannot pay"
        assert said.startswith(ErrorCode.INSUFFICIENT_CREDITS), said

    @rule(
        target=tokens,
        worker=st.sampled_from(sorted(WORKERS)),
        limit=st.integers(1, 4),
        lease=st.sampled_from([30, 60]),
    )
    def claim(self, worker: str, limit: int, lease: int) -> Any:
        """A worker asks for tasks."""
        before, memory_mb = self.database.now(), WORKERS[worker]
        rows = self.database.table(
            SERVICE,
            "claim_tasks",
            p_worker=worker,
            p_limit=limit,
            p_lease_seconds=lease,
            p_deadline_seconds=90,
            p_capabilities={"memory_mb": memory_mb},
        )
        self.model.note(worker, memory_mb, before)
        now = self.database.now()
        opened = []
        for row in rows:
            task = self.model.tasks[str(row["id"])]
            assert task.due(now, memory_mb), "claimed what was not due"
            attempt = Attempt(
                token=row["token"],
                task=task,
                worker=worker,
                memory_mb=memory_mb,
                lease=row["lease_expires_at"].timestamp(),
                deadline=row["deadline_at"].timestamp(),
            )
            opened.append(attempt)
        self.model.claim(opened, limit, before, memory_mb)
        # The database orders two users at one virtual start by random ids.
        opened.sort(key=lambda each: (each.task.virtual_start, each.task.user))
        return multiple(*(each.token for each in opened))

    @rule(token=tokens, lease=st.sampled_from([30, 60]))
    def renew(self, token: int, lease: int) -> None:
        """A worker, or its zombie, holds on."""
        now = self.database.now()
        expected = self.model.renew(token, now)
        assert (
            self.database.call(SERVICE, "renew_lease", p_token=token, p_lease_seconds=lease)
            == expected
        )
        if expected == "ok":
            attempt = self.model.attempts[token]
            [row] = self.database.rows(
                "select lease_expires_at from segmentation.attempts where token = %s", token
            )
            left = row["lease_expires_at"].timestamp()
            assert left >= min(attempt.deadline, now + 0.8 * lease), "too short a lease"
            if left != attempt.lease:
                attempt.lease = left
                self.model.note(attempt.worker, self.model.workers[attempt.worker][0], now)

    @rule(token=tokens, computed=st.one_of(st.none(), st.integers(0, 6)))
    def progress(self, token: int, computed: int | None) -> None:
        """A worker, or its zombie, reports."""
        attempt = self.model.attempts.get(token)
        if attempt and computed is not None:
            computed = min(computed, attempt.task.cost)
        answer = self.database.call(
            SERVICE, "report_progress", p_token=token, p_progress=0.5, p_computed=computed
        )
        assert answer == self.model.progress(token, computed)

    @rule(token=tokens)
    def complete(self, token: int) -> None:
        """A worker, or its zombie, has a result."""
        attempt = self.model.attempts.get(token)
        prefix = f"results/{attempt.task.user}/{attempt.task.id}/{token}/" if attempt else "gone/"
        answer = self.database.call(
            SERVICE,
            "complete_task",
            p_token=token,
            p_manifest_url=prefix + "manifest.json",
            p_mask_image_url=None,
            p_overlay_image_url=None,
            p_instance_count=1,
            p_summary={},
        )
        assert answer == self.model.complete(token)

    @rule(token=tokens, code=st.sampled_from(CODES))
    def fail(self, token: int, code: ErrorCode) -> None:
        """A worker, or its zombie, gives up."""
        now = self.database.now()
        answer = self.database.call(SERVICE, "fail_task", p_token=token, p_error_code=code.value)
        assert answer == self.model.fail(token, code, now)

    @rule(token=tokens, reason=st.sampled_from(ReleaseReason))
    def release(self, token: int, reason: ReleaseReason) -> None:
        """A worker that stops or cannot, or its zombie, gives a task back."""
        answer = self.database.call(SERVICE, "release_task", p_token=token, p_reason=reason.value)
        assert answer == self.model.release(token, reason)

    @rule(task=tasks)
    def cancel(self, task: str) -> None:
        """A user changes their mind."""
        owner = self.model.tasks[task].user
        assert self.database.call(owner, "cancel_task", p_id=task) == self.model.cancel(task)

    @rule(task=consumes(tasks))
    def delete(self, task: str) -> None:
        """A user wants it gone."""
        assert self.database.call(self.model.tasks[task].user, "delete_result", p_id=task) == "ok"
        self.model.delete(task)

    @rule()
    def reap(self) -> None:
        """Any worker looks after the others."""
        now = self.database.now()
        assert self.database.call(SERVICE, "reap_tasks") == self.model.reap(now)

    @rule(seconds=st.sampled_from(SKIPS))
    def skip(self, seconds: int) -> None:
        """Time passes."""
        for command in clock.SKIP:
            self.database.rows(command, seconds)
        self.model.skip(seconds)

    @invariant()
    def both_agree(self) -> None:
        """After each step all rows are what the model says."""
        self.steps += 1
        for check in agreement.CHECKS:
            check(self.database, self.model)

    def _cap(self, tasks: int) -> None:
        self.database.rows(
            "update segmentation.tiers set max_in_flight = %s where tier = 'free'", tasks
        )
