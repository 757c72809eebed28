"""Queue classes are few, whatever is asked for."""

import asyncio
from typing import Any

import pytest

from bench.queue_states.mutants import Mutant, mutated


pytestmark = pytest.mark.usefixtures("all_is_paid")

ODD = [1, 7_000, 11_111, 24_500, 44_000, 80_000, 100_000, 500_000, 1_048_576]


async def test_all_amounts_of_memory_are_few_classes(operator: Any) -> None:
    """Whatever anybody may ask for is one of nine classes, none of them less than was asked for."""
    [found] = await operator.rows(
        """
        select count(distinct class) as classes, min(class - asked) as spare, max(class) as most
        from (
            select asked, segmentation.memory_class(asked) as class
            from generate_series(0, 1048576, 64) as asked
        ) as amounts
        """
    )
    assert (found["classes"], found["spare"], found["most"]) == (9, 0, 1_048_576)


@pytest.mark.parametrize(
    ("asked", "card"),
    [
        (14_000, 15_360),  # T4
        (22_000, 22_731),  # A10G
        (22_000, 24_564),  # RTX 4090
        (29_000, 40_536),  # A100, 40 GB
        (44_000, 45_634),  # L40S
        (73_000, 81_559),  # H100
        (129_000, 143_771),  # H200
        (129_000, 183_359),  # B200
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
    """Negative control: with a class below, 24,500 would be given to a machine with 23,900."""
    down = Mutant("memory_class", "class >= p_memory_mb", "class >= p_memory_mb - 4096")
    with mutated(stack.db_url, down):
        await owner.submit(p_needs={"memory_mb": 24_500})
        assert len(await machine.claim(p_capabilities={"memory_mb": 23_900})) == 1


async def test_the_same_needs_are_one_class(owner: Any, operator: Any) -> None:
    """What rounds up to the same is of the same class, also when many come at once."""
    await asyncio.gather(
        *(owner.submit(p_needs={"memory_mb": 8_000 + n, "pixels": n}) for n in range(1, 20))
    )
    classes = await operator.rows("select distinct queue_class_id from public.segmentation_results")
    assert len(classes) == 1
