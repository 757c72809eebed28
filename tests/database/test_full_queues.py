"""How many tasks of a user may wait, and which of them are counted."""

from typing import Any

import pytest

from bench.queue_states.mutants import Mutant, mutated


pytestmark = pytest.mark.usefixtures("all_is_paid")


async def test_too_many_waiting_are_refused(
    owner: Any, machine: Any, operator: Any, refused: Any, tiers: Any
) -> None:
    """At the tier's bound a submit is PT429 and nothing is held; when one ends there is room."""
    await tiers("free", max_waiting=5)
    first, *_ = await owner.queue(5)
    with refused("PT429", "rate_limited"):
        await owner.submit()
    assert await owner.credits() == 95
    await owner.call("cancel_task", p_id=first)
    assert (await owner.submit())["status"] == "pending"


async def test_what_expired_leaves_room(
    owner: Any, machine: Any, tiers: Any, skip: Any, refused: Any
) -> None:
    """A task that waits no longer is not counted, also when it expired."""
    await tiers("free", max_waiting=3)
    await owner.queue(3, deadline_seconds=60)
    await skip(61)
    await machine.call("reap_tasks")
    assert len(await owner.queue(3)) == 3
    with refused("PT429", "rate_limited"):
        await owner.submit()


async def test_what_comes_back_waits_again(
    owner: Any, machine: Any, tiers: Any, refused: Any
) -> None:
    """A task that its worker gave back takes the room that it had left."""
    await tiers("free", max_waiting=2)
    await owner.queue(2)
    [claim] = await machine.claim()
    await machine.call("release_task", p_token=claim["token"])
    with refused("PT429", "rate_limited"):
        await owner.submit()


async def test_uncounted_leavers_would_fill_the_line(
    owner: Any, machine: Any, tiers: Any, refused: Any, stack: Any
) -> None:
    """Negative control: were a cancel not counted, each would take room for ever."""
    await tiers("free", max_waiting=2)
    with mutated(stack.db_url, Mutant("leave_queue", "queue.waiting - 1", "queue.waiting")):
        first, _ = await owner.queue(2)
        await owner.call("cancel_task", p_id=first)
        with refused("PT429", "rate_limited"):
            await owner.submit()


async def test_what_is_in_work_does_not_wait(owner: Any, machine: Any, tiers: Any) -> None:
    """Negative control: only pending tasks count against the bound."""
    await tiers("free", max_waiting=5)
    await owner.queue(5)
    await machine.claim(5)
    assert len(await owner.queue(5)) == 5
