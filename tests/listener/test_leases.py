"""A worker that lost its lease changes nothing, and one that vanished is replaced."""

import pytest
from fake_pipeline import FakePipeline
from listeners import QUICK_LEASE, Listening, Spawn
from task_queue import Queue, until

from adapters.objects import ObjectNotFound
from listener.lease_store import AttemptTimes
from s3_sam3.contracts.tasks import TaskStatus


NEVER_RENEWED = {"lease_seconds": 299, "renew_seconds": 119}


async def test_a_lease_is_kept_while_the_work_goes_on(
    queue: Queue, listening: Listening, fake_pipeline: FakePipeline
) -> None:
    """Work that takes longer than the lease ends in its first attempt."""
    fake_pipeline.gate.clear()
    async with listening(**QUICK_LEASE):
        task_id = await queue.submit()
        await until(lambda: len(fake_pipeline.asked) == 1)
        first_end = (await queue.attempts(task_id))[0]["lease_expires_at"]
        await _reaches_database_time(queue, first_end)
        fake_pipeline.gate.set()
        await queue.reaches(task_id, TaskStatus.DONE)

    assert len(await queue.attempts(task_id)) == 1


async def test_a_cancelled_task_is_let_go(
    queue: Queue, listening: Listening, fake_pipeline: FakePipeline
) -> None:
    """The next renewal says stale; the attempt ends, stores nothing and settles nothing."""
    fake_pipeline.gate.clear()
    async with listening(**QUICK_LEASE) as worker:
        task_id = await queue.submit()
        await until(lambda: len(fake_pipeline.asked) == 1)
        await queue.cancel(task_id)
        await until(lambda: not worker.claimer.running)

    row = await queue.row(task_id)
    assert (row["status"], row["manifest_url"]) == ("cancelled", None)
    assert await queue.ledger(task_id) == ["hold", "release"]


async def test_a_cancelled_task_leaves_the_pipeline(
    queue: Queue, listening: Listening, fake_pipeline: FakePipeline
) -> None:
    """
    With the times as they are, the listener hangs up within a renewal: two seconds.

    Negative control: `NEVER_RENEWED`, the zombies' times below, keeps its request for ever.
    """
    fake_pipeline.gate.clear()
    async with listening() as worker:
        task_id = await queue.submit()
        await until(lambda: len(fake_pipeline.asked) == 1)
        # The last report before the answer is out, so only a renewal can learn of the loss.
        await until(lambda: _reported(queue, task_id))
        await queue.cancel(task_id)
        # Two seconds and what a crowded machine adds.
        await until(lambda: fake_pipeline.hung_up, seconds=4)
        await until(lambda: not worker.claimer.running)

    assert AttemptTimes().renew <= 2


async def test_a_zombie_shows_nothing(
    queue: Queue, listening: Listening, fake_pipeline: FakePipeline
) -> None:
    """
    A worker that does not know it lost the lease stores under its own token, unseen.

    The object proves that the zombie did its work to the end; only the fence kept it out.
    """
    fake_pipeline.gate.clear()
    async with listening(**NEVER_RENEWED) as zombie:
        task_id = await queue.submit()
        await until(lambda: len(fake_pipeline.asked) == 1)
        await _lose_the_lease(queue, task_id)
        fake_pipeline.gate.set()
        await until(lambda: not zombie.claimer.running)
        await queue.reaches(task_id, TaskStatus.DONE)

    first, second = await queue.attempts(task_id)
    row = await queue.row(task_id)
    assert await queue.store.get(_manifest(queue, task_id, first["token"]))
    assert row["manifest_url"] == _manifest(queue, task_id, second["token"])
    assert await queue.ledger(task_id) == ["hold", "capture"]


async def test_a_zombie_that_renews_stores_nothing(
    queue: Queue, listening: Listening, fake_pipeline: FakePipeline
) -> None:
    """A worker that learns of its loss stops before it stores."""
    fake_pipeline.gate.clear()
    async with listening(**QUICK_LEASE, LISTENER_POLL_SECONDS=3600) as worker:
        task_id = await queue.submit()
        await until(lambda: len(fake_pipeline.asked) == 1)
        await _lose_the_lease(queue, task_id)
        await until(lambda: not worker.claimer.running)
        fake_pipeline.gate.set()

    (first,) = await queue.attempts(task_id)
    with pytest.raises(ObjectNotFound):
        await queue.store.get(_manifest(queue, task_id, first["token"]))


async def test_a_killed_worker_is_replaced(
    queue: Queue, spawn: Spawn, fake_pipeline: FakePipeline
) -> None:
    """Kill -9 in the middle of a task: the next worker does it, once, charged once."""
    fake_pipeline.gate.clear()
    first = await spawn(**QUICK_LEASE)
    task_id = await queue.submit()
    await until(lambda: len(fake_pipeline.asked) == 1)
    first.process.kill()
    await first.process.wait()
    fake_pipeline.gate.set()

    await spawn(**QUICK_LEASE)
    await queue.reaches(task_id, TaskStatus.DONE, seconds=30)

    attempts = await queue.attempts(task_id)
    assert [attempt["outcome"] for attempt in attempts] == ["lease_expired", "done"]
    assert await queue.ledger(task_id) == ["hold", "capture"]
    assert await queue.rows("select * from segmentation.ledger_mismatches()") == []


async def _lose_the_lease(queue: Queue, task_id: str) -> None:
    """End the open attempt as the reaper does with a silent worker's; due again at once."""
    await queue.rows(
        "update segmentation.attempts set lease_expires_at = claimed_at + interval '1 us'"
        " where result_id = %s and ended_at is null",
        task_id,
    )
    await queue.operate("reap_tasks")
    # Perhaps the worker's own reaper was faster, and has not committed yet.
    await until(lambda: _has_ended(queue, task_id))
    await queue.rows("update segmentation_results set run_after = now() where id = %s", task_id)


async def _has_ended(queue: Queue, task_id: str) -> bool:
    return (await queue.attempts(task_id))[0]["ended_at"] is not None


async def _reported(queue: Queue, task_id: str) -> bool:
    return bool((await queue.row(task_id))["progress"] > 0)


async def _reaches_database_time(queue: Queue, instant: object) -> None:
    async def reached() -> bool:
        (row,) = await queue.rows("select now() >= %s as reached", instant)
        return bool(row["reached"])

    await until(reached)


def _manifest(queue: Queue, task_id: str, token: int) -> str:
    return f"results/{queue.user.id}/{task_id}/{token}/manifest.json"
