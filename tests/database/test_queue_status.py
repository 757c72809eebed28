"""Where a task stands, and how long it may take; null where nobody can tell."""

from typing import Any

import pytest

from bench.queue_states.mutants import Mutant, mutated


pytestmark = pytest.mark.usefixtures("all_is_paid")

NOTHING = {"queue_position": None, "eta_seconds": None, "blocked_by": None}


async def status(owner: Any, task: str) -> dict[str, Any]:
    """How a task stands."""
    answer: dict[str, Any] = await owner.call("queue_status", p_id=task)
    return answer


async def work(owner: Any, machine: Any, operator: Any, seconds: int, count: int = 5) -> None:
    """Make a history: so many tasks that took so long each."""
    await owner.queue(count)
    for _ in range(count):
        for claim in await machine.claim():
            await machine.complete(claim)
    await operator.rows(
        "update segmentation.attempts set claimed_at = ended_at - make_interval(secs => %s)",
        seconds,
    )


async def test_the_position_counts_the_tasks_in_front(owner: Any, machine: Any) -> None:
    """The next task is at 0; a task that no longer waits has no position."""
    ids = await owner.queue(3)
    assert [(await status(owner, each))["queue_position"] for each in ids] == [0, 1, 2]
    await machine.claim()
    assert [(await status(owner, each))["queue_position"] for each in ids] == [None, 0, 1]


async def test_the_position_is_that_of_the_claims(owner: Any, stranger: Any, machine: Any) -> None:
    """Fair turns are counted: behind a hundred of another, a newcomer is not the hundredth."""
    await stranger.queue(100)
    [task] = await owner.queue(1)
    position = (await status(owner, task))["queue_position"]
    assert position is not None
    assert position <= 2
    claimed = [str(claim["id"]) for _ in range(4) for claim in await machine.claim()]
    # Two users may have the same virtual start; then either may come first.
    assert abs(claimed.index(task) - position) <= 1


async def test_another_kind_is_not_in_front(owner: Any, machine: Any, operator: Any) -> None:
    """Videos do not count among the pictures in front."""
    async with operator.pool.connection() as connection, connection.transaction():
        await connection.execute(
            "select set_config('request.jwt.claims', json_build_object('sub', %s::text)::text,"
            " true)",
            [owner.id],
        )
        await connection.execute(
            "insert into public.segmentation_results (source_image_url, text_prompt, kind)"
            " values (%s, 'cat', 'video')",
            [f"uploads/{owner.id}/film.mp4"],
        )
    [task] = await owner.queue(1)
    assert (await status(owner, task))["queue_position"] == 0


async def test_the_status_of_another_is_not_told(owner: Any, stranger: Any, machine: Any) -> None:
    """Nobody learns where somebody else's task stands."""
    [task] = await owner.queue(1)
    assert await status(stranger, task) == NOTHING


async def test_what_does_not_wait_has_no_status(owner: Any, machine: Any, operator: Any) -> None:
    """At work or final: nothing to wait for."""
    await work(owner, machine, operator, 10)
    works, ends = await owner.queue(2)
    await machine.claim()
    await owner.call("cancel_task", p_id=ends)
    assert [await status(owner, each) for each in (works, ends)] == [NOTHING] * 2


async def test_without_a_history_nobody_can_tell(owner: Any, machine: Any) -> None:
    """A first task has a position but no eta."""
    await machine.claim()
    [task] = await owner.queue(1)
    assert await status(owner, task) == NOTHING | {"queue_position": 0}


async def test_without_a_worker_nobody_can_tell(
    owner: Any, machine: Any, operator: Any, skip: Any
) -> None:
    """A history alone promises nothing while nobody is online."""
    await work(owner, machine, operator, 10)
    await skip(121)
    [task] = await owner.queue(1)
    assert (await status(owner, task))["eta_seconds"] is None


async def test_without_a_capable_worker_nobody_can_tell(
    owner: Any, machine: Any, operator: Any
) -> None:
    """A worker that cannot do the task does not bring it nearer."""
    await work(owner, machine, operator, 10)
    [task] = await owner.queue(1, needs={"memory_mb": 80 * 1024})
    assert (await status(owner, task))["eta_seconds"] is None


async def test_the_eta_follows_the_line(owner: Any, machine: Any, operator: Any) -> None:
    """One worker, ten seconds a task: the n-th in line ends after about n times ten."""
    await work(owner, machine, operator, 10)
    ids = await owner.queue(6)
    etas = [(await status(owner, each))["eta_seconds"] for each in ids]
    assert all(10 * n <= (eta or 0) <= 10 * n + 2 for n, eta in enumerate(etas, start=1))


async def test_more_slots_bring_it_nearer(owner: Any, machine: Any, operator: Any) -> None:
    """A worker with four slots works four in the time of one."""
    await work(owner, machine, operator, 10)
    ids = await owner.queue(8)
    alone = (await status(owner, ids[-1]))["eta_seconds"]
    [claim] = await machine.claim(p_capabilities={"slots": 4})
    await machine.call("release_task", p_token=claim["token"])
    together = (await status(owner, ids[-1]))["eta_seconds"]
    assert alone is not None
    assert together is not None
    assert together <= alone / 3


async def test_a_backoff_is_in_the_eta(owner: Any, machine: Any, operator: Any) -> None:
    """A task that waits for its retry is not promised sooner than it is due."""
    await work(owner, machine, operator, 10)
    [task] = await owner.queue(1)
    await operator.rows(
        "update public.segmentation_results set run_after = now() + interval '100 seconds'"
        " where id = %s",
        task,
    )
    assert ((await status(owner, task))["eta_seconds"] or 0) >= 110 - 1


async def eta_behind_one_at_work(owner: Any, machine: Any, operator: Any, slots: int) -> int:
    """The eta of the next in line, while a hundred-second task is at work."""
    await work(owner, machine, operator, 100)
    _, task = await owner.queue(2)
    await machine.claim(p_capabilities={"slots": slots})
    eta: int = (await status(owner, task))["eta_seconds"]
    return eta


@pytest.mark.parametrize(("slots", "eta"), [(1, 200), (2, 100)], ids=["no slot free", "one free"])
async def test_work_in_hand_is_in_the_eta(
    owner: Any, machine: Any, operator: Any, slots: int, eta: int
) -> None:
    """The next in line waits until the one at work has ended, if no slot is free."""
    assert abs(await eta_behind_one_at_work(owner, machine, operator, slots) - eta) <= 2


async def test_without_the_work_in_hand_it_is_promised_too_soon(
    owner: Any, machine: Any, operator: Any, stack: Any
) -> None:
    """Negative control: by the queue alone, the next one would be told half of it."""
    with mutated(stack.db_url, Mutant("eta_seconds", "p_ahead + at_work", "p_ahead")):
        assert await eta_behind_one_at_work(owner, machine, operator, 1) <= 102


async def behind_the_line_of_others(owner: Any, stranger: Any, machine: Any, operator: Any) -> str:
    """A task for fp16, behind five that only a machine with bf16 can do."""
    for name, dtype in (("f", "fp16"), ("b", "bf16")):
        await machine.claim(p_worker=name, p_capabilities={"dtype": dtype})
    await stranger.queue(5, needs={"dtype": "bf16"})
    [task] = await owner.queue(1, needs={"dtype": "fp16"})
    await operator.rows(
        "update public.segmentation_results set virtual_start = virtual_start + 1000000"
        " where id = %s",
        task,
    )
    return str(task)


async def test_who_waits_for_other_machines_is_not_in_front(
    owner: Any, stranger: Any, machine: Any, operator: Any
) -> None:
    """Tasks that one's own machines cannot do take none of their time."""
    await work(owner, machine, operator, 10)
    task = await behind_the_line_of_others(owner, stranger, machine, operator)
    assert await status(owner, task) == NOTHING | {"queue_position": 0, "eta_seconds": 10}


async def test_without_asking_who_can_do_what_they_would_be(
    owner: Any, stranger: Any, machine: Any, operator: Any, stack: Any
) -> None:
    """Negative control: without asking who can do what, all five stand in front."""
    everybody = Mutant("tasks_ahead", "segmentation.can_do(workers.capabilities, other)", "true")
    task = await behind_the_line_of_others(owner, stranger, machine, operator)
    with mutated(stack.db_url, everybody):
        assert (await status(owner, task))["queue_position"] == 5
