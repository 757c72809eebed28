"""From pending to a final status, with a real database and a real object store."""

import pytest
from fake_pipeline import CANDIDATE, MASK, OVERLAY, FakePipeline
from listeners import QUICK_LEASE, Listening
from task_queue import Queue, until

from s3_sam3.contracts.errors import ErrorCode
from s3_sam3.contracts.manifest import Manifest
from s3_sam3.contracts.pipeline import Health
from s3_sam3.contracts.prompts import SegmentOptions
from s3_sam3.contracts.tasks import ReleaseReason, TaskStatus


async def test_a_pending_task_becomes_done(queue: Queue, listening: Listening) -> None:
    """A task ends done, its objects under its token's prefix, its credits captured once."""
    async with listening():
        task_id = await queue.submit("a dog", "a cat")
        await queue.reaches(task_id, TaskStatus.DONE)

    row = await queue.row(task_id)
    (attempt,) = await queue.attempts(task_id)
    prefix = f"results/{queue.user.id}/{task_id}/{attempt['token']}/"
    assert row["manifest_url"] == prefix + "manifest.json"
    assert row["mask_image_url"] == prefix + "mask.png"
    stored = Manifest.model_validate_json(await queue.store.get(row["manifest_url"]))
    assert stored.model.name == "fake"
    assert [prompt.candidates for prompt in stored.prompts] == [(CANDIDATE,)] * 2
    assert await queue.store.get(row["mask_image_url"]) == MASK
    assert await queue.store.get(row["overlay_image_url"]) == OVERLAY
    assert await queue.ledger(task_id) == ["hold", "capture"]


async def test_a_done_task_says_what_was_found_and_how_long_it_took(
    queue: Queue, listening: Listening
) -> None:
    """The row carries the instances of each prompt; the attempt carries the timings."""
    async with listening():
        task_id = await queue.submit("a dog", "a cat")
        await queue.reaches(task_id, TaskStatus.DONE)

    row = await queue.row(task_id)
    (attempt,) = await queue.attempts(task_id)
    assert row["instance_count"] == 2
    assert [(prompt["id"], prompt["instances"]) for prompt in row["summary"]["prompts"]] == [
        ("p0", 1),
        ("p1", 1),
    ]
    assert row["summary"]["timings"] == attempt["timings"]
    assert attempt["timings"].keys() == {*("queue_ms", "fetch_ms", "model_ms", "store_ms")}
    assert all(milliseconds >= 0 for milliseconds in attempt["timings"].values())


async def test_a_backlog_is_worked_off_without_waiting(queue: Queue, listening: Listening) -> None:
    """While there is work the listener looks again at once; neither hint nor clock is needed."""
    ids = [await queue.submit() for _ in range(8)]

    async with listening(LISTENER_POLL_SECONDS=3600):
        for task_id in ids:
            await queue.reaches(task_id, TaskStatus.DONE)


async def test_no_more_tasks_are_in_work_than_allowed(
    queue: Queue, listening: Listening, fake_pipeline: FakePipeline
) -> None:
    """The concurrency bounds the tasks claimed; the rest stays pending for other workers."""
    fake_pipeline.gate.clear()
    ids = [await queue.submit(picture_key=await queue.another_picture()) for _ in range(4)]
    async with listening(LISTENER_CONCURRENCY=2):
        await until(lambda: len(fake_pipeline.asked) == 2)
        statuses = [(await queue.row(task_id))["status"] for task_id in ids]
        assert sorted(statuses) == ["pending", "pending", "processing", "processing"]

        fake_pipeline.gate.set()
        for task_id in ids:
            await queue.reaches(task_id, TaskStatus.DONE)


async def test_a_bad_picture_fails_for_good(
    queue: Queue, listening: Listening, fake_pipeline: FakePipeline
) -> None:
    """What the pipeline refuses for ever fails at the first attempt, and the hold is released."""
    fake_pipeline.refusal = ErrorCode.INVALID_IMAGE
    async with listening():
        task_id = await queue.submit()
        await queue.reaches(task_id, TaskStatus.FAILED)

    row = await queue.row(task_id)
    assert (row["error_code"], row["attempt_count"]) == ("invalid_image", 1)
    assert await queue.ledger(task_id) == ["hold", "release"]


async def test_a_missing_picture_fails_for_good(queue: Queue, listening: Listening) -> None:
    """A picture that is not in the store fails the task without a retry."""
    await queue.store.delete(queue.picture_key)
    async with listening():
        task_id = await queue.submit()
        await queue.reaches(task_id, TaskStatus.FAILED)

    assert (await queue.row(task_id))["error_code"] == "source_not_found"


async def test_a_failure_that_may_pass_is_tried_again(
    queue: Queue, listening: Listening, fake_pipeline: FakePipeline
) -> None:
    """A retryable code is counted, backed off and tried again; then the task is done."""
    fake_pipeline.refusal = ErrorCode.PIPELINE_FAILED
    async with listening():
        task_id = await queue.submit()
        await queue.reaches(task_id, TaskStatus.PROCESSING)
        await queue.reaches(task_id, TaskStatus.PENDING)
        fake_pipeline.refusal = None
        await queue.reaches(task_id, TaskStatus.DONE)

    attempts = await queue.attempts(task_id)
    assert [attempt["error_code"] for attempt in attempts] == ["pipeline_failed", None]
    assert await queue.ledger(task_id) == ["hold", "capture"]


async def test_a_pipeline_that_dies_over_a_picture_costs_an_attempt(
    queue: Queue, listening: Listening, fake_pipeline: FakePipeline
) -> None:
    """A picture that kills the model each time must come to an end, so it is counted."""
    fake_pipeline.hang_up = True
    async with listening():
        task_id = await queue.submit()
        await until(lambda: len(fake_pipeline.asked) == 1)
        await queue.reaches(task_id, TaskStatus.PENDING)
        fake_pipeline.hang_up = False
        await queue.reaches(task_id, TaskStatus.DONE)

    attempts = await queue.attempts(task_id)
    assert [attempt["error_code"] for attempt in attempts] == ["pipeline_failed", None]


async def test_a_pipeline_that_outlasts_the_deadline_costs_an_attempt(
    queue: Queue, listening: Listening, fake_pipeline: FakePipeline
) -> None:
    """A live loop can hide a hung GPU; the deadline ends the attempt though its lease is kept."""
    fake_pipeline.gate.clear()
    async with listening(LISTENER_DEADLINE_SECONDS=2, **QUICK_LEASE):
        task_id = await queue.submit()
        await until(lambda: len(fake_pipeline.asked) == 1)
        await queue.reaches(task_id, TaskStatus.PENDING)
        fake_pipeline.gate.set()
        await queue.reaches(task_id, TaskStatus.DONE)

    assert (await queue.attempts(task_id))[0]["error_code"] == "deadline_exceeded"


async def test_a_pipeline_that_gives_up_in_time_costs_an_attempt(
    queue: Queue, listening: Listening, fake_pipeline: FakePipeline
) -> None:
    """It is told how long it has, less than the attempt; that it gave up is what the row says."""
    fake_pipeline.refusal = ErrorCode.DEADLINE_EXCEEDED
    async with listening(LISTENER_DEADLINE_SECONDS=60):
        task_id = await queue.submit()
        await until(lambda: len(fake_pipeline.asked) == 1)
        await queue.reaches(task_id, TaskStatus.PENDING)
        fake_pipeline.refusal = None
        await queue.reaches(task_id, TaskStatus.DONE)

    attempts = await queue.attempts(task_id)
    assert [attempt["error_code"] for attempt in attempts] == ["deadline_exceeded", None]
    assert all(asked.seconds and 30 < asked.seconds < 60 for asked in fake_pipeline.asked)


async def test_what_was_asked_reaches_the_pipeline_whole(
    queue: Queue, listening: Listening, fake_pipeline: FakePipeline
) -> None:
    """Each option of the task is in the request, and its price is captured whole."""
    options = {"tiles": 2, "region": [0, 0, 4, 3], "nms": 0.5, "min_area": 2, "floor": 0.1}
    async with listening():
        task_id = await queue.submit("a", **options)
        await queue.reaches(task_id, TaskStatus.DONE)

    assert fake_pipeline.asked[0].options == SegmentOptions.model_validate(options)
    assert (await queue.row(task_id))["charged"] == 5


@pytest.mark.parametrize("health", [Health.STARTING, Health.SETUP_FAILED, Health.DEFUNCT])
async def test_a_task_waits_for_a_ready_model(
    queue: Queue, listening: Listening, fake_pipeline: FakePipeline, health: Health
) -> None:
    """Nothing is claimed while no model is ready; when one is (busy counts), the task is done."""
    fake_pipeline.health = health
    task_id = await queue.submit()
    async with listening():
        await until(lambda: fake_pipeline.health_asked >= 2)
        assert await queue.attempts(task_id) == []

        fake_pipeline.health = Health.BUSY
        await queue.reaches(task_id, TaskStatus.DONE)


async def test_a_task_waits_for_a_pipeline_that_is_down(
    queue: Queue, listening: Listening, fake_pipeline: FakePipeline
) -> None:
    """With nobody at the pipeline's address a task stays pending, and is done when one is there."""
    await fake_pipeline.stop()
    async with listening() as worker:
        task_id = await queue.submit()
        await until(worker.hints.live.is_set)
        assert await queue.attempts(task_id) == []

        await fake_pipeline.start()
        await queue.reaches(task_id, TaskStatus.DONE)


async def test_a_pipeline_that_has_no_model_burns_no_attempt(
    queue: Queue, listening: Listening, fake_pipeline: FakePipeline
) -> None:
    """A task that was claimed in vain is released unharmed, and done when the model is back."""
    fake_pipeline.refusal = ErrorCode.MODEL_UNAVAILABLE
    async with listening():
        task_id = await queue.submit()
        await until(lambda: len(fake_pipeline.asked) >= 1)
        fake_pipeline.refusal = None
        await queue.reaches(task_id, TaskStatus.DONE)

    assert (await queue.row(task_id))["attempt_count"] == 1
    assert (await queue.attempts(task_id))[0]["release_reason"] == ReleaseReason.UNABLE
