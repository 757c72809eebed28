"""A user's clock: what was claimed is charged, what was only submitted is not."""

from typing import Any

import pytest

from bench.queue_states.mutants import Mutant, mutated


pytestmark = pytest.mark.usefixtures("all_is_paid")


async def claims_before(user: Any, task: str, machine: Any) -> int:
    """How many tasks are claimed before that task is."""
    for number in range(100):
        for claim in await machine.claim():
            await machine.complete(claim)
            if str(claim["id"]) == task:
                return number
    pytest.fail("never claimed")


@pytest.mark.parametrize("step", [1, -1])
async def test_what_was_cancelled_is_not_charged(
    owner: Any, stranger: Any, machine: Any, step: int
) -> None:
    """Thirty tasks cancelled from either end: the next one goes beside the first of another's."""
    for task in (await owner.queue(30))[::step]:
        await owner.call("cancel_task", p_id=task)
    await stranger.queue(30)
    [task] = await owner.queue(1)
    assert await claims_before(owner, task, machine) <= 1


async def test_what_expired_is_not_charged(
    owner: Any, stranger: Any, machine: Any, skip: Any
) -> None:
    """Nor are thirty that nobody began in time."""
    await owner.queue(30, deadline_seconds=60)
    await skip(61)
    await machine.call("reap_tasks")
    await stranger.queue(30)
    [task] = await owner.queue(1)
    assert await claims_before(owner, task, machine) <= 1


async def test_a_clock_of_all_that_was_submitted_lets_it_wait(
    owner: Any, stranger: Any, machine: Any, operator: Any
) -> None:
    """Negative control: were thirty cancelled tasks on the clock, it would wait for thirty."""
    for task in await owner.queue(30):
        await owner.call("cancel_task", p_id=task)
    await operator.rows("update segmentation.fair_clocks set finish = 30 * 1000")
    await stranger.queue(40)
    [task] = await owner.queue(1)
    assert await claims_before(owner, task, machine) >= 29


async def spent_and_cancelled(owner: Any, stranger: Any, machine: Any) -> str:
    """A task after a dear one that was claimed, and after a cheap one that was cancelled."""
    await owner.queue(1, prompts=[{"text": "cat"}] * 16)
    [dear] = await machine.claim()
    await machine.complete(dear)
    await stranger.queue(40)
    [cheap] = await owner.queue(1)
    await owner.call("cancel_task", p_id=cheap)
    [task] = await owner.queue(1)
    return str(task)


async def test_a_cancel_does_not_wipe_off_what_was_claimed(
    owner: Any, stranger: Any, machine: Any
) -> None:
    """Sixteen credits' worth of work stay on the clock, whatever is cancelled after it."""
    task = await spent_and_cancelled(owner, stranger, machine)
    assert await claims_before(owner, task, machine) >= 15


async def test_a_clock_that_claims_do_not_move_forgets_it(
    owner: Any, stranger: Any, machine: Any, stack: Any
) -> None:
    """Negative control: without the claims' write, submit and cancel would be a fresh start."""
    forgetful = Mutant(
        "begin_tasks", "greatest(clock.finish, claimed.start) + claimed.cost", "clock.finish"
    )
    with mutated(stack.db_url, forgetful):
        task = await spent_and_cancelled(owner, stranger, machine)
        assert await claims_before(owner, task, machine) <= 1
