"""Lanes are few whatever is asked for, and those that nobody needs go."""

from typing import Any

import psycopg
import pytest

from bench.queue_states.mutants import Mutant, mutated


pytestmark = pytest.mark.usefixtures("all_is_paid")

MIB_PER_GIB = 1024
ODD = [1, 7_000, 11_111, 24_500, 44_000, 80_000, 100_000, 500_000, 1_048_576]


async def lanes(operator: Any) -> int:
    """How many there are."""
    number: int = await operator.value("select count(*) from segmentation.lanes")
    return number


async def ask(owner: Any, *amounts: int) -> None:
    """Submit a task for each amount of memory, and cancel it: lanes that cost nothing."""
    for amount in amounts:
        task = await owner.submit(p_needs={"memory_mb": amount})
        await owner.call("cancel_task", p_id=task["id"])


async def test_all_amounts_of_memory_are_few_lanes(operator: Any) -> None:
    """Whatever anybody may ask for is one of 43 classes, none of them less than was asked for."""
    [found] = await operator.rows(
        """
        select count(distinct class) as classes, min(class - asked) as spare, max(class) as most
        from (
            select asked, segmentation.memory_class(asked) as class
            from generate_series(0, 1048576, 64) as asked
        ) as amounts
        """
    )
    assert (found["classes"], found["spare"], found["most"]) == (43, 0, 1024 * MIB_PER_GIB)


@pytest.mark.parametrize(
    ("asked", "card"),
    [
        (14_000, 15_360),  # T4
        (22_000, 22_731),  # A10G
        (24_000, 24_564),  # RTX 4090
        (39_000, 40_536),  # A100, 40 GB
        (44_000, 45_634),  # L40S
        (80_000, 81_559),  # H100
        (140_000, 143_771),  # H200
        (170_000, 183_359),  # B200
    ],
)
async def test_a_card_of_the_size_does_the_task(
    owner: Any, machine: Any, asked: int, card: int
) -> None:
    """A card reports less than its name says, and is found by what it reports."""
    await owner.submit(p_needs={"memory_mb": asked})
    assert len(await machine.claim(p_capabilities={"memory_mb": card})) == 1


@pytest.mark.parametrize("asked", ODD)
async def test_no_task_lands_where_there_is_less(owner: Any, machine: Any, asked: int) -> None:
    """Rounded up, never down: one MiB less than asked for is too little."""
    await owner.submit(p_needs={"memory_mb": asked})
    assert await machine.claim(p_capabilities={"memory_mb": asked - 1}) == []


async def test_rounded_down_it_would(owner: Any, machine: Any, stack: Any) -> None:
    """Negative control: to whole GiB below, 24,500 would be given to a machine with 23,900."""
    down = Mutant(
        "lane_of",
        "segmentation.memory_class(coalesce((p_needs ->> 'memory_mb')::integer, 0))",
        "coalesce((p_needs ->> 'memory_mb')::integer, 0) / 1024 * 1024",
    )
    with mutated(stack.db_url, down):
        await owner.submit(p_needs={"memory_mb": 24_500})
        assert len(await machine.claim(p_capabilities={"memory_mb": 23_900})) == 1


async def test_lanes_that_nobody_needs_are_pruned(owner: Any, service: Any, operator: Any) -> None:
    """What was submitted and cancelled leaves no lane behind the janitor's next visit."""
    before = await lanes(operator)
    await ask(owner, *ODD)
    assert await lanes(operator) > before
    await service.call("prune_results")
    assert await lanes(operator) == before


async def test_a_lane_in_use_stays(
    owner: Any, service: Any, machine: Any, operator: Any, task_row: Any
) -> None:
    """Where one waits and from where one is in work: both are claimed from it afterwards."""
    big, bigger = {"memory_mb": 81_920}, {"memory_mb": 98_304}
    works = await owner.submit(p_needs=big)
    [claim] = await machine.claim(p_capabilities=big)
    waits = await owner.submit(p_needs=bigger)
    before = await lanes(operator)
    await service.call("prune_results")
    assert await lanes(operator) == before
    await machine.call("release_task", p_token=claim["token"])
    claims = await machine.claim(2, p_capabilities=bigger)
    assert {str(each["id"]) for each in claims} == {works["id"], waits["id"]}


async def test_without_the_look_at_work_its_return_would_fail(
    owner: Any, service: Any, machine: Any, stack: Any
) -> None:
    """Negative control: with its lane gone, a task that is given back stands nowhere."""
    big = {"memory_mb": 81_920}
    await owner.submit(p_needs=big)
    [claim] = await machine.claim(p_capabilities=big)
    with mutated(stack.db_url, Mutant("prune_lanes", "attempts.ended_at is null", "false")):
        await service.call("prune_results")
    with pytest.raises(psycopg.errors.ForeignKeyViolation):
        await machine.call("release_task", p_token=claim["token"])


async def test_a_lane_that_somebody_is_joining_stays(
    owner: Any, service: Any, operator: Any
) -> None:
    """A submit that has found its lane, and no turn yet, is not left without it."""
    await ask(owner, 81_920)
    async with operator.pool.connection() as connection, connection.transaction():
        await connection.execute(
            "select segmentation.lane_for('image', 81920, 0, null, null) as lane"
        )
        before = await lanes(operator)
        await service.call("prune_results")
        assert await lanes(operator) == before
