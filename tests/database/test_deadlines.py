"""`deadline_seconds`: a task that nobody began in time is cancelled and costs nothing."""

from typing import Any

import pytest

from bench.queue_states.mutants import MUTANTS, mutated


pytestmark = pytest.mark.usefixtures("all_is_paid")


async def test_a_deadline_counts_from_the_submit(owner: Any, task_row: Any) -> None:
    """`expires_at` is `created_at` and the deadline; without one there is none."""
    task = await owner.submit(p_deadline_seconds=60)
    row = await task_row(task["id"])
    assert (row["expires_at"] - row["created_at"]).total_seconds() == 60
    assert (await owner.submit())["expires_at"] is None


async def test_an_expired_task_is_cancelled_and_not_charged(
    owner: Any, machine: Any, task_row: Any, skip: Any
) -> None:
    """The reaper cancels it with `expired`, and the whole hold comes back."""
    task = await owner.submit(p_deadline_seconds=60, p_prompts=[{"text": "cat"}] * 3)
    await skip(61)
    await machine.call("reap_tasks")
    row = await task_row(task["id"])
    assert (row["status"], row["error_code"], row["charged"]) == ("cancelled", "expired", 0)
    assert "Nothing was charged" in row["error_message"]
    assert await owner.credits() == 100
    actions = await owner.rows("select action from public.usage_logs order by id")
    assert [each["action"] for each in actions] == ["grant", "hold", "release"]


async def test_an_expired_task_is_never_begun(owner: Any, machine: Any, skip: Any) -> None:
    """Also before the reaper has come by, no worker gets it."""
    await owner.submit(p_deadline_seconds=60)
    await skip(61)
    assert await machine.claim() == []


async def test_a_task_in_time_is_left_alone(
    owner: Any, machine: Any, task_row: Any, skip: Any
) -> None:
    """Negative control: an hour ends neither a longer deadline nor a task without one."""
    waits = [await owner.submit(p_deadline_seconds=7200), await owner.submit()]
    await skip(3600)
    await machine.call("reap_tasks")
    assert {(await task_row(task["id"]))["status"] for task in waits} == {"pending"}


async def test_what_was_begun_in_time_may_end_late(
    owner: Any, machine: Any, task_row: Any, skip: Any
) -> None:
    """The deadline is for the start: a worker at work is not interrupted."""
    task = await owner.submit(p_deadline_seconds=60)
    [claim] = await machine.claim(p_lease_seconds=300)
    await skip(61)
    await machine.call("reap_tasks")
    assert await machine.complete(claim) == "ok"
    assert (await task_row(task["id"]))["status"] == "done"


async def given_back_late(owner: Any, machine: Any, skip: Any) -> str:
    """A task that was begun in time, and that a soft stop gave back after its deadline."""
    task = await owner.submit(p_deadline_seconds=60)
    [claim] = await machine.claim(p_lease_seconds=300)
    await skip(61)
    assert await machine.call("release_task", p_token=claim["token"]) == "ok"
    await machine.call("reap_tasks")
    return str(task["id"])


async def test_what_was_begun_in_time_may_begin_again_late(
    owner: Any, machine: Any, task_row: Any, skip: Any
) -> None:
    """Given back by a soft stop, it neither expires nor is passed over."""
    task = await given_back_late(owner, machine, skip)
    assert (await task_row(task))["status"] == "pending"
    [claim] = await machine.claim()
    assert str(claim["id"]) == task
    assert await machine.complete(claim) == "ok"


async def test_without_the_start_it_would_expire(
    owner: Any, machine: Any, task_row: Any, skip: Any, stack: Any
) -> None:
    """Negative control: by its status alone the reaper would cancel it."""
    with mutated(stack.db_url, MUTANTS["what was begun once does not expire"]):
        task = await given_back_late(owner, machine, skip)
        assert (await task_row(task))["status"] == "cancelled"


@pytest.mark.parametrize("seconds", [0, 604_801])
async def test_a_deadline_without_sense_is_refused(owner: Any, refused: Any, seconds: int) -> None:
    """One second to one week."""
    with refused("PT400", "invalid_request"):
        await owner.submit(p_deadline_seconds=seconds)


async def test_a_bare_insert_may_have_a_deadline(owner: Any, task_row: Any) -> None:
    """Both doors know deadlines, and neither lets the sender set `expires_at`."""
    [task] = await owner.queue(1, deadline_seconds=60)
    row = await task_row(task)
    assert (row["expires_at"] - row["created_at"]).total_seconds() == 60


async def test_one_reaping_ends_many(owner: Any, machine: Any, operator: Any, skip: Any) -> None:
    """Expired tasks are found wherever they stand in the queue."""
    await owner.queue(20, deadline_seconds=60)
    await owner.queue(20)
    await skip(61)
    await machine.call("reap_tasks")
    left = await operator.rows(
        "select status::text, count(*) from public.segmentation_results group by 1 order by 1"
    )
    assert [(row["status"], row["count"]) for row in left] == [("cancelled", 20), ("pending", 20)]
