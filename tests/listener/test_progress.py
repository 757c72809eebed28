"""How far an attempt is, and how much of it is computed."""

import asyncio
from typing import Any

from fake_pipeline import FakePipeline
from listeners import QUICK_LEASE, Listening
from task_queue import Queue, until

from s3_sam3.contracts.tasks import TaskStatus


async def test_what_is_computed_is_told_while_the_model_works(
    queue: Queue, listening: Listening, fake_pipeline: FakePipeline
) -> None:
    """Two prompts of four: the row says so; cancelled now, these two are paid."""
    fake_pipeline.gate.clear()
    fake_pipeline.computed = 2
    async with listening(**QUICK_LEASE):
        task_id = await queue.submit("a", "b", "c", "d")
        await until(lambda: _computes(queue, task_id, 2))
        assert 0.1 < (await queue.row(task_id))["progress"] < 0.9
        await queue.cancel(task_id)
        await until(lambda: fake_pipeline.hung_up)

    assert (await queue.row(task_id))["charged"] == 2
    assert await queue.rows("select * from segmentation.ledger_mismatches()") == []


async def test_each_pass_of_a_prompt_is_paid(
    queue: Queue, listening: Listening, fake_pipeline: FakePipeline
) -> None:
    """In 2 x 2 tiles a prompt is five credits: one of two done is five of ten, and half the way."""
    fake_pipeline.gate.clear()
    fake_pipeline.computed = 1
    async with listening(**QUICK_LEASE):
        task_id = await queue.submit("a", "b", tiles=2)
        await until(lambda: _computes(queue, task_id, 5))
        assert 0.4 < (await queue.row(task_id))["progress"] < 0.6
        await queue.cancel(task_id)
        await until(lambda: fake_pipeline.hung_up)

    row = await queue.row(task_id)
    assert (row["cost"], row["charged"]) == (10, 5)
    assert await queue.rows("select * from segmentation.ledger_mismatches()") == []


async def test_a_pipeline_that_cannot_tell_costs_nothing(
    queue: Queue, listening: Listening, fake_pipeline: FakePipeline
) -> None:
    """Negative control: where nothing is known, nothing is charged when it is cancelled."""
    fake_pipeline.gate.clear()
    async with listening(**QUICK_LEASE):
        task_id = await queue.submit("a", "b")
        await until(lambda: len(fake_pipeline.asked) == 1)
        await queue.cancel(task_id)
        await until(lambda: fake_pipeline.hung_up)

    assert (await queue.row(task_id))["charged"] == 0


async def test_an_answer_is_all_of_it(
    queue: Queue, listening: Listening, fake_pipeline: FakePipeline
) -> None:
    """Once the model has answered, all prompts are computed, whatever it told before."""
    async with listening() as worker:
        objects = worker.claimer._context.objects
        stuck = asyncio.Event()

        async def slow(*args: Any) -> dict[str, str]:
            await stuck.wait()
            return await type(objects).write_results(objects, *args)

        objects.write_results = slow  # type: ignore[method-assign]
        task_id = await queue.submit("a", "b", "c")
        await until(lambda: _computes(queue, task_id, 3))
        stuck.set()
        await queue.reaches(task_id, TaskStatus.DONE)


async def _computes(queue: Queue, task_id: str, worth: int) -> bool:
    return bool((await queue.row(task_id))["computed"] == worth)
