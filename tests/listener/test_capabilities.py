"""What a worker says it can do, and what follows when memory runs out."""

import pytest
from fake_pipeline import MODEL, FakePipeline
from listeners import Listening
from task_queue import Queue, until

from listener.claim import Capabilities
from s3_sam3.contracts import limits
from s3_sam3.contracts.errors import ErrorCode
from s3_sam3.contracts.tasks import TaskStatus


def test_a_worker_says_what_its_model_is() -> None:
    """Memory, revision and number format are the pipeline's; slots and pixels are ours."""
    assert Capabilities(slots=3).with_model(MODEL) == {
        "kinds": ["image"],
        "memory_mb": MODEL.memory_mb,
        "max_pixels": limits.MAX_IMAGE_PIXELS,
        "slots": 3,
        "model_revision": MODEL.revision,
        "dtype": "bf16",
    }


@pytest.mark.parametrize("memory_mb", [0, 80_000])
def test_the_settings_go_before_the_model(memory_mb: int) -> None:
    """LISTENER_MEMORY_MB makes a machine smaller or larger than its GPU is, 0 included."""
    declared = Capabilities(slots=1, memory_mb=memory_mb).with_model(MODEL)

    assert declared["memory_mb"] == memory_mb


async def test_each_claim_tells_the_queue(queue: Queue, listening: Listening) -> None:
    """The database knows who is there and what they can do."""
    async with listening(name="w-capable", LISTENER_CONCURRENCY=3):
        await queue.reaches(await queue.submit(), TaskStatus.DONE)

    (worker,) = await queue.rows(
        "select capabilities from segmentation.workers where worker = %s", "w-capable"
    )
    assert worker["capabilities"] == Capabilities(slots=3).with_model(MODEL)


async def test_out_of_memory_is_tried_again_frugally(
    queue: Queue, listening: Listening, fake_pipeline: FakePipeline
) -> None:
    """The same request, once more and smaller, in the same attempt."""
    fake_pipeline.frugal_only = {"big"}
    async with listening():
        task_id = await queue.submit("big")
        await queue.reaches(task_id, TaskStatus.DONE)

    assert len(await queue.attempts(task_id)) == 1
    assert [asked.frugal for asked in fake_pipeline.asked] == [False, True]
    assert fake_pipeline.asked[0].prompts == fake_pipeline.asked[1].prompts


async def test_a_second_out_of_memory_waits_for_a_larger_machine(
    queue: Queue, listening: Listening, fake_pipeline: FakePipeline
) -> None:
    """Two tries on the small machine, then the task is done on the one that has more."""
    fake_pipeline.refusals = {"huge": ErrorCode.OUT_OF_MEMORY}
    async with listening(LISTENER_MEMORY_MB=10_000, name="small"):
        task_id = await queue.submit("huge")
        # The larger one is online, but comes too late for the first try.
        await _declare(queue, "large", memory_mb=20_000)
        await until(lambda: len(fake_pipeline.asked) == 2)
        await queue.reaches(task_id, TaskStatus.PENDING)
    fake_pipeline.refusals = {}
    async with listening(LISTENER_MEMORY_MB=20_000, name="large"):
        await queue.reaches(task_id, TaskStatus.DONE)

    attempts = await queue.attempts(task_id)
    assert [(one["worker"], one["error_code"]) for one in attempts] == [
        ("small", "out_of_memory"),
        ("large", None),
    ]
    assert [asked.frugal for asked in fake_pipeline.asked] == [False, True, False]


async def _declare(queue: Queue, worker: str, **capabilities: object) -> None:
    """Look at the queue as that worker would, where there is nothing for it."""
    await queue.operate(
        "claim_tasks", p_worker=worker, p_limit=1, p_capabilities={"kinds": [], **capabilities}
    )
