"""A key is asked for by one submit at a time, and the same work is charged once."""

import asyncio
import uuid
from typing import Any

import pytest
from database.held_locks import somebody_waits_for

from bench.queue_states.mutants import Mutant, mutated


pytestmark = pytest.mark.usefixtures("all_is_paid")

ONE_REQUEST = Mutant(
    "task_of_key", "known.request_hash is distinct from p_request_hash", "known.key is null"
)
KEYS_WITH_THEIR_TASK = Mutant(
    "delete_result",
    "delete from public.segmentation_results where id = p_id;",
    "delete from public.segmentation_results where id = p_id;"
    " delete from segmentation.idempotency_keys where task_id = p_id;",
)


async def late_retry(owner: Any, operator: Any) -> Any:
    """What a retry does that began before the first submit was made and its task deleted again."""
    keyed = {"p_idempotency_key": "k", "p_source_image_url": owner.upload()}
    async with operator.pool.connection() as first, first.transaction():
        await owner._dress(first)
        submitted = await first.execute(
            "select public.submit_task(%s, '[{\"text\": \"cat\"}]', p_idempotency_key => 'k')"
            " -> 'task' ->> 'id' as id",
            [keyed["p_source_image_url"]],
        )
        row = await submitted.fetchone()
        retry = asyncio.create_task(owner.submit(**keyed))
        await somebody_waits_for(first, operator)
        await first.execute("select public.delete_result(%s)", [row["id"]])
    return await retry


async def test_a_late_retry_of_deleted_work_is_not_charged_again(
    owner: Any, operator: Any, refused: Any
) -> None:
    """A request with a key waits for the one before it, and sees what became of it."""
    with refused("PT422", "idempotency_conflict"):
        await late_retry(owner, operator)
    assert await owner.credits() == 100


async def test_a_key_that_went_with_its_task_would_charge_again(
    owner: Any, operator: Any, stack: Any
) -> None:
    """Negative control: a key must outlive its task."""
    with mutated(stack.db_url, KEYS_WITH_THEIR_TASK):
        assert (await late_retry(owner, operator))["status"] == "pending"
    assert await owner.credits() == 99


async def test_many_submits_of_one_key_take_one_place(owner: Any, operator: Any) -> None:
    """Of twenty at once one is queued, and the next task stands right behind it."""
    keyed = {"p_idempotency_key": "k", "p_source_image_url": owner.upload()}
    same = await asyncio.gather(*(owner.submit(**keyed) for _ in range(20)))
    assert len({task["id"] for task in same}) == 1
    after = await owner.submit()
    third = await owner.submit()
    assert after["virtual_start"] - same[0]["virtual_start"] == (
        third["virtual_start"] - after["virtual_start"]
    )


@pytest.mark.parametrize("told", [{"p_request_hash": "a"}, {}], ids=["hash", "arguments"])
async def test_without_the_hash_another_request_is_hidden(
    owner: Any, stack: Any, refused: Any, told: dict[str, str]
) -> None:
    """Negative control of the 422: without the comparison a key answers for any request."""
    first = await owner.submit(p_idempotency_key="k", **told)
    other = {"p_idempotency_key": "k", "p_prompts": [{"text": uuid.uuid4().hex}]}
    other |= {"p_request_hash": "b"} if told else {}
    with refused("PT422", "idempotency_conflict"):
        await owner.submit(**other)
    with mutated(stack.db_url, ONE_REQUEST):
        assert (await owner.submit(**other))["id"] == first["id"]
