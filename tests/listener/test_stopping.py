"""A stop loses no task, counts no attempt, and exits cleanly."""

import signal

from fake_pipeline import FakePipeline
from listeners import ListenerProcess, Listening, Spawn
from task_queue import Queue, until

from s3_sam3.contracts.tasks import ReleaseReason, TaskStatus


async def test_a_stop_lets_work_finish(
    queue: Queue, spawn: Spawn, fake_pipeline: FakePipeline
) -> None:
    """SIGTERM drains: the running task is finished, no other is claimed, the exit is clean."""
    listener, task_id = await _busy(queue, spawn, fake_pipeline)

    listener.process.terminate()
    await until(lambda: listener.said("listener_draining"))
    waiting_id = await queue.submit()
    fake_pipeline.gate.set()

    assert await listener.process.wait() == 0
    assert (await queue.row(task_id))["status"] == "done"
    assert await queue.attempts(waiting_id) == []
    assert listener.said("task_done")


async def test_a_stop_releases_what_takes_too_long(
    queue: Queue, spawn: Spawn, fake_pipeline: FakePipeline
) -> None:
    """After the grace the rest is given back at once, and no attempt is counted."""
    listener, task_id = await _busy(queue, spawn, fake_pipeline, LISTENER_GRACE_SECONDS=0.2)

    listener.process.terminate()

    assert await listener.process.wait() == 0
    assert listener.said("task_released")
    row = await queue.row(task_id)
    assert (row["status"], row["attempt_count"]) == ("pending", 0)
    assert (await queue.attempts(task_id))[0]["release_reason"] == ReleaseReason.STOPPING
    assert await queue.ledger(task_id) == ["hold"]


async def test_a_second_stop_hurries(
    queue: Queue, spawn: Spawn, fake_pipeline: FakePipeline
) -> None:
    """A second SIGTERM does not wait for the grace."""
    listener, task_id = await _busy(queue, spawn, fake_pipeline, LISTENER_GRACE_SECONDS=3600)

    listener.process.terminate()
    await until(lambda: listener.said("listener_draining"))
    listener.process.send_signal(signal.SIGTERM)

    assert await listener.process.wait() == 0
    assert (await queue.row(task_id))["status"] == "pending"


async def test_a_stop_before_the_start_is_not_lost(listening: Listening) -> None:
    """A worker stopped before it ran ends at once."""
    async with listening() as worker:
        worker.stop()

    assert worker.claimer.running == set()


async def _busy(
    queue: Queue, spawn: Spawn, fake_pipeline: FakePipeline, **overrides: object
) -> tuple[ListenerProcess, str]:
    """A listener process whose one task is at the pipeline."""
    fake_pipeline.gate.clear()
    listener = await spawn(**overrides)
    task_id = await queue.submit()
    await until(lambda: len(fake_pipeline.asked) == 1)
    await queue.reaches(task_id, TaskStatus.PROCESSING)
    return listener, task_id
