"""Who waited for a lock looks again before acting: each look is taken out once, and missed."""

import asyncio
from typing import Any

import psycopg
import pytest
from database.held_locks import holding, somebody_waits_for

from bench.queue_states.mutants import MUTANTS, Mutant, mutated


pytestmark = pytest.mark.usefixtures("all_is_paid")

LOOKS_AGAIN = Mutant(
    "reap_tasks",
    "where token = silent.token and ended_at is null and lease_expires_at <= now()",
    "where token = silent.token",
)
LOCKS_THE_TASK = Mutant("lock_attempt", "for update", "")

RENEWAL = """
    update segmentation.attempts set lease_expires_at = now() + interval '30 seconds'
    where token = %s
"""


async def reaped_beside_a_renewal(
    owner: Any, machine: Any, operator: Any, pass_lease: Any, service: Any
) -> int:
    """What the reaper ends that found a lease over while its worker was renewing it."""
    await owner.submit()
    [claim] = await machine.claim()
    await pass_lease(claim["token"])
    async with holding(operator, RENEWAL, claim["token"]) as renewal:
        reaping = asyncio.create_task(service.call("reap_tasks"))
        await somebody_waits_for(renewal, operator)
    return int(await reaping)


async def test_a_lease_renewed_meanwhile_is_not_reaped(
    owner: Any, machine: Any, operator: Any, pass_lease: Any, service: Any
) -> None:
    """The renewal was first, so the worker keeps its task."""
    assert await reaped_beside_a_renewal(owner, machine, operator, pass_lease, service) == 0


async def test_without_the_second_look_a_live_attempt_is_reaped(
    owner: Any, machine: Any, operator: Any, pass_lease: Any, service: Any, stack: Any
) -> None:
    """Negative control of the reaper's second look at the lease."""
    with mutated(stack.db_url, LOOKS_AGAIN):
        assert await reaped_beside_a_renewal(owner, machine, operator, pass_lease, service) == 1


async def completed_beside_a_cancel(owner: Any, machine: Any, operator: Any) -> str:
    """What a completion is told that came while its task was being cancelled."""
    task = await owner.submit()
    [claim] = await machine.claim()
    async with operator.pool.connection() as cancel, cancel.transaction():
        await owner._dress(cancel)
        await cancel.execute("select public.cancel_task(%s)", [task["id"]])
        completing = asyncio.create_task(machine.complete(claim))
        await somebody_waits_for(cancel, operator)
    answer: str = await completing
    return answer


async def test_a_completion_waits_for_a_cancel_and_is_stale(
    owner: Any, machine: Any, operator: Any, task_row: Any
) -> None:
    """The cancel was first, so the attempt is over by the time it is read."""
    assert await completed_beside_a_cancel(owner, machine, operator) == "stale"


async def test_without_the_tasks_lock_a_cancelled_task_is_settled_again(
    owner: Any, machine: Any, operator: Any, stack: Any
) -> None:
    """Negative control of lock_attempt: the attempt is read too early, and only an index helps."""
    with mutated(stack.db_url, LOCKS_THE_TASK), pytest.raises(psycopg.IntegrityError):
        await completed_beside_a_cancel(owner, machine, operator)


async def renewed_after_its_end(owner: Any, machine: Any) -> str:
    """What a worker is told that renews a lease it has given back."""
    await owner.submit()
    [claim] = await machine.claim()
    await machine.call("release_task", p_token=claim["token"])
    answer: str = await machine.call("renew_lease", p_token=claim["token"])
    return answer


async def test_an_ended_attempt_is_not_renewed(owner: Any, machine: Any, stack: Any) -> None:
    """Stale; negative control: without the fence a worker would think that the task is its own."""
    assert await renewed_after_its_end(owner, machine) == "stale"
    with mutated(stack.db_url, MUTANTS["renew_lease asks whether the token is live"]):
        assert await renewed_after_its_end(owner, machine) == "ok"
