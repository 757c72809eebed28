"""Out of GPU memory: the next attempt goes to a machine with more, or there is none."""

from typing import Any

import pytest


pytestmark = pytest.mark.usefixtures("all_is_paid")

SMALL = {"memory_mb": 16_000}
LARGE = {"memory_mb": 80_000}


@pytest.fixture
async def large(new_machine: Any) -> Any:
    """A second machine, with more memory, that is online."""
    machine = await new_machine()
    await machine.claim(p_capabilities=LARGE)
    return machine


async def run_out(machine: Any) -> Any:
    """Claim as a small machine and run out of memory; the claim."""
    [claim] = await machine.claim(p_capabilities=SMALL)
    failure = {"p_token": claim["token"], "p_error_code": "out_of_memory"}
    assert await machine.call("fail_task", **failure) == "ok"
    return claim


async def test_the_next_attempt_needs_more_memory(
    owner: Any, machine: Any, large: Any, due_now: Any
) -> None:
    """The machine that ran out is not given the task again; the larger one is."""
    await owner.submit()
    lost = await run_out(machine)
    await due_now()
    assert await machine.claim(p_capabilities=SMALL) == []
    [claim] = await large.claim(p_capabilities=LARGE)
    assert claim["id"] == lost["id"]


async def test_another_error_sets_no_floor(
    owner: Any, machine: Any, large: Any, due_now: Any
) -> None:
    """Negative control: after any other failure the same machine may try again."""
    await owner.submit()
    [claim] = await machine.claim(p_capabilities=SMALL)
    failure = {"p_token": claim["token"], "p_error_code": "pipeline_failed"}
    await machine.call("fail_task", **failure)
    await due_now()
    assert len(await machine.claim(p_capabilities=SMALL)) == 1


async def test_without_a_larger_machine_the_task_fails(
    owner: Any, machine: Any, task_row: Any
) -> None:
    """Nobody online has more memory: failed at once, with a code that says so, and not charged."""
    task = await owner.submit()
    await run_out(machine)
    row = await task_row(task["id"])
    assert (row["status"], row["error_code"], row["charged"]) == ("failed", "out_of_memory", 0)
    assert await owner.credits() == 100


async def test_a_machine_of_the_same_size_does_not_help(
    owner: Any, machine: Any, new_machine: Any, task_row: Any
) -> None:
    """As much memory as was too little is too little again."""
    await (await new_machine()).claim(p_capabilities=SMALL)
    task = await owner.submit()
    await run_out(machine)
    assert (await task_row(task["id"]))["status"] == "failed"


async def test_a_machine_that_left_does_not_help(
    owner: Any, machine: Any, large: Any, task_row: Any, skip: Any
) -> None:
    """Who was not seen for two minutes is not online."""
    task = await owner.submit()
    await skip(121)
    await run_out(machine)
    assert (await task_row(task["id"]))["status"] == "failed"


async def test_the_floor_only_rises(owner: Any, machine: Any, large: Any, due_now: Any) -> None:
    """A task that asked for more memory than the failure teaches keeps what it asked for."""
    await owner.submit(p_needs={"memory_mb": 44_236})
    [claim] = await large.claim(p_capabilities=LARGE)
    await large.call("release_task", p_token=claim["token"])
    assert await machine.claim(p_capabilities={"memory_mb": 44_235}) == []
    assert len(await machine.claim(p_capabilities={"memory_mb": 44_236})) == 1
