"""Nobody dies of a deadlock: fair clock, then tasks, attempts, profiles, user queues."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import psycopg
import pytest
from database.held_locks import holding, somebody_waits_for

from bench.queue_states.mutants import Mutant, mutated


pytestmark = pytest.mark.usefixtures("all_is_paid")

PROFILES_FIRST = Mutant("reap_tasks", "where task.id = any(ended)", "where false")
ONE_REAPER = Mutant(
    "reap_tasks",
    "if not pg_try_advisory_xact_lock('segmentation.attempts'::regclass::oid::integer, 0) then",
    "if false then",
)
TASKS_FIRST = Mutant("lock_before_deletion", "where results.user_id = old.id", "where false")
CLOCKS_FIRST = Mutant("lock_before_deletion", "where clock.user_id = old.id", "where false")


async def is_free(connection: Any, query: str, *values: Any) -> bool:
    """Whether that transaction can have these rows, without waiting."""
    cursor = await connection.execute(f"{query} for no key update skip locked", values)
    return bool(await cursor.fetchall())


@pytest.fixture
def silent_work(
    busy_owner: Any, service: Any, operator: Any, pass_lease: Any
) -> Callable[[], Awaitable[None]]:
    """Two silent attempts of a user, one to be retried and then one to fail; and a task in line."""

    async def make() -> None:
        """Submit, claim, fall silent."""
        await busy_owner.queue(3)
        first, last = await service.claim(2)
        await pass_lease(first["token"])
        await pass_lease(last["token"])
        await operator.rows(
            "update public.segmentation_results set attempt_count = 3 where id = %s", last["id"]
        )

    return make


async def queue_is_free_while_the_reaper_waits(owner: Any, service: Any, operator: Any) -> bool:
    """Be a submit that has its user's profile and wants the user queue next."""
    profile = "select 1 from public.users_profile where id = %s for no key update"
    async with holding(operator, profile, owner.id) as submit:
        reaping = asyncio.create_task(service.call("reap_tasks"))
        await somebody_waits_for(submit, operator)
        free = await is_free(
            submit, "select 1 from segmentation.user_queues where user_id = %s", owner.id
        )
    assert await reaping == 2
    return free


async def test_a_reaper_that_waits_for_a_profile_holds_no_queue(
    busy_owner: Any, service: Any, operator: Any, silent_work: Any
) -> None:
    """A submit that holds its user's profile gets the queue, whatever a reaper does."""
    await silent_work()
    assert await queue_is_free_while_the_reaper_waits(busy_owner, service, operator)


async def test_without_the_order_a_reaper_holds_the_queue(
    busy_owner: Any, service: Any, operator: Any, silent_work: Any, stack: Any
) -> None:
    """Negative control: task by task, the reaper would wait for the one who waits for it."""
    await silent_work()
    with mutated(stack.db_url, PROFILES_FIRST):
        assert not await queue_is_free_while_the_reaper_waits(busy_owner, service, operator)


ONE_ONLY = "select public.reap_tasks(1)"
"""A reaper that leaves one of two silent attempts, and is not yet done."""


async def test_one_reaper_at_a_time(service: Any, operator: Any, silent_work: Any) -> None:
    """The second one leaves at once, so that no two lock the same users crosswise."""
    await silent_work()
    async with holding(operator, ONE_ONLY):
        assert await service.call("reap_tasks") == 0
    assert await service.call("reap_tasks") == 1


async def test_without_the_lock_a_second_reaper_waits_for_the_first(
    service: Any, operator: Any, silent_work: Any, stack: Any
) -> None:
    """Negative control: with an attempt ended, it would stand before a profile of the first."""
    await silent_work()
    with mutated(stack.db_url, ONE_REAPER):
        async with holding(operator, ONE_ONLY) as first:
            second = asyncio.create_task(service.call("reap_tasks"))
            await somebody_waits_for(first, operator)
        assert await second == 1


async def test_reapers_and_submits_at_once_all_come_through(
    busy_owner: Any, stranger: Any, service: Any, operator: Any, pass_lease: Any
) -> None:
    """A crowd with expired leases, some of them the last: nobody dies of a deadlock."""
    await service.call("set_user_tier", p_user_id=stranger.id, p_tier="internal")
    for owner in (busy_owner, stranger):
        await owner.queue(15)
    for number, claim in enumerate(await service.claim(30)):
        await pass_lease(claim["token"])
        if number % 3 == 2:
            await operator.rows(
                "update public.segmentation_results set attempt_count = 3 where id = %s",
                claim["id"],
            )
    async with asyncio.TaskGroup() as group:
        for _ in range(4):
            group.create_task(service.call("reap_tasks"))
            for owner in (busy_owner, stranger):
                for _ in range(3):
                    group.create_task(owner.submit())


async def profile_is_free_while_the_user_leaves(
    owner: Any, operator: Any, lock: str, *values: Any
) -> bool:
    """Be somebody who holds a lock and wants the user's profile next, as the user is deleted."""
    async with holding(operator, lock, *values) as other:
        leaving = asyncio.create_task(
            operator.rows("delete from auth.users where id = %s", owner.id)
        )
        await somebody_waits_for(other, operator)
        query = "select 1 from public.users_profile where id = %s"
        free = await is_free(other, query, owner.id)
    await leaving
    return free


A_TASK = "select 1 from public.segmentation_results where user_id = %s for update"
A_CLOCK = "select 1 from segmentation.fair_clocks where user_id = %s for update"


@pytest.mark.parametrize("lock", [A_TASK, A_CLOCK], ids=["completion", "submit"])
async def test_deleting_a_user_waits_for_what_is_under_way(
    owner: Any, operator: Any, lock: str
) -> None:
    """A completion that holds a task, and a submit that holds the clock, get the profile too."""
    await owner.queue(2)
    assert await profile_is_free_while_the_user_leaves(owner, operator, lock, owner.id)


@pytest.mark.parametrize(
    ("lock", "order"), [(A_TASK, TASKS_FIRST), (A_CLOCK, CLOCKS_FIRST)], ids=["task", "clock"]
)
async def test_without_the_order_a_deletion_holds_the_profile(
    owner: Any, operator: Any, stack: Any, lock: str, order: Mutant
) -> None:
    """Negative control: the cascade alone takes the profile first, and both would wait for ever."""
    await owner.queue(2)
    with mutated(stack.db_url, order):
        assert not await profile_is_free_while_the_user_leaves(owner, operator, lock, owner.id)


async def test_users_leave_while_their_tasks_end(new_owner: Any, service: Any) -> None:
    """Completions beside deletions of the users: each is ok or stale, none dies."""
    answers: list[str] = []

    async def end(claim: Any) -> None:
        """Complete one."""
        answers.append(await service.complete(claim))

    for _ in range(3):
        leaver = await new_owner()
        await service.call("set_user_tier", p_user_id=leaver.id, p_tier="internal")
        await leaver.queue(20)
        claims = await service.claim(20)
        async with asyncio.TaskGroup() as group:
            for number, claim in enumerate(claims):
                group.create_task(end(claim))
                if number == 10:
                    group.create_task(leave(service, leaver))
    assert set(answers) <= {"ok", "stale"}


async def leave(service: Any, leaver: Any) -> None:
    """Delete a user, as Auth does."""
    async with service.pool.connection() as connection:
        try:
            await connection.execute("delete from auth.users where id = %s", [leaver.id])
        except psycopg.errors.DeadlockDetected:
            pytest.fail("the deletion died of a deadlock")
