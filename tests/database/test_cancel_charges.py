"""What a task costs that did not come to its end: what was computed, and not a credit more."""

from typing import Any

import psycopg
import pytest


pytestmark = pytest.mark.usefixtures("all_is_paid")

THREE = {"p_prompts": [{"text": "cat"}] * 3}


async def entries(owner: Any) -> list[tuple[str, int]]:
    """The owner's ledger after the sign-up, oldest first."""
    rows = await owner.rows("select * from public.usage_logs order by id offset 1")
    return [(row["action"], row["credits_used"]) for row in rows]


async def compute(owner: Any, machine: Any, computed: int | None) -> Any:
    """Submit a task of three credits, claim it, and report *computed* of them; the claim."""
    await owner.submit(**THREE)
    [claim] = await machine.claim()
    if computed is not None:
        report = {"p_token": claim["token"], "p_progress": 0.5, "p_computed": computed}
        assert await machine.call("report_progress", **report) == "ok"
    return claim


async def test_cancelling_what_waits_costs_nothing(owner: Any, task_row: Any) -> None:
    """A pending task gives its whole hold back."""
    task = await owner.submit(**THREE)
    await owner.call("cancel_task", p_id=task["id"])
    assert (await task_row(task["id"]))["charged"] == 0
    assert await entries(owner) == [("hold", 3), ("release", 3)]
    assert await owner.credits() == 100


@pytest.mark.parametrize(
    ("computed", "settled"),
    [
        (None, [("release", 3)]),
        (0, [("release", 3)]),
        (1, [("capture", 1), ("remainder", 2)]),
        (3, [("capture", 3)]),
    ],
)
async def test_cancelling_what_runs_costs_what_was_computed(
    owner: Any, machine: Any, task_row: Any, computed: int | None, settled: list[tuple[str, int]]
) -> None:
    """The computed part is captured, the rest of the hold is given back, in one transaction."""
    claim = await compute(owner, machine, computed)
    await owner.call("cancel_task", p_id=claim["id"])
    assert (await task_row(claim["id"]))["charged"] == (computed or 0)
    assert await entries(owner) == [("hold", 3), *settled]
    assert await owner.credits() == 100 - (computed or 0)


async def test_a_pass_counts_as_much_as_a_prompt(
    owner: Any, machine: Any, task_row: Any, refused: Any
) -> None:
    """Two prompts in 2 x 2 tiles are ten credits; one prompt done in all its passes is five."""
    await owner.submit(p_prompts=[{"text": "cat"}] * 2, p_options={"tiles": 2})
    [claim] = await machine.claim()
    report = {"p_token": claim["token"], "p_progress": 0.5}
    with refused("PT400", "invalid_request"):
        await machine.call("report_progress", p_computed=11, **report)
    assert await machine.call("report_progress", p_computed=5, **report) == "ok"
    await owner.call("cancel_task", p_id=claim["id"])
    assert (await task_row(claim["id"]))["charged"] == 5
    assert await entries(owner) == [("hold", 10), ("capture", 5), ("remainder", 5)]
    assert await owner.credits() == 95


async def test_tiles_that_nobody_can_pay_are_not_queued(owner: Any, refused: Any) -> None:
    """Six prompts in 4 x 4 tiles are 102 credits, and there are 100; five are 85, and fit."""
    tiled = {"p_options": {"tiles": 4}}
    with refused("PT402", "insufficient_credits"):
        await owner.submit(p_prompts=[{"text": "cat"}] * 6, **tiled)
    assert await owner.credits() == 100
    assert (await owner.submit(p_prompts=[{"text": "cat"}] * 5, **tiled))["cost"] == 85


async def test_what_is_computed_never_goes_back(owner: Any, machine: Any, task_row: Any) -> None:
    """A report that was overtaken by a later one does not lower the charge."""
    claim = await compute(owner, machine, 2)
    late = {"p_token": claim["token"], "p_progress": 0.1, "p_computed": 1}
    assert await machine.call("report_progress", **late) == "ok"
    assert (await task_row(claim["id"]))["computed"] == 2


async def test_a_report_without_a_count_keeps_it(owner: Any, machine: Any, task_row: Any) -> None:
    """A worker that reports progress alone takes nothing back."""
    claim = await compute(owner, machine, 2)
    await machine.call("report_progress", p_token=claim["token"], p_progress=0.9)
    assert (await task_row(claim["id"]))["computed"] == 2


@pytest.mark.parametrize("computed", [-1, 4])
async def test_nobody_computes_more_than_was_asked(
    owner: Any, machine: Any, refused: Any, computed: int
) -> None:
    """A count outside 0 to the cost is refused, so a worker cannot invent charges."""
    claim = await compute(owner, machine, None)
    with refused("PT400", "invalid_request"):
        await machine.call(
            "report_progress", p_token=claim["token"], p_progress=0.5, p_computed=computed
        )


async def test_a_new_attempt_begins_at_nothing(owner: Any, machine: Any) -> None:
    """What a lost attempt had computed is not charged when the next one is cancelled."""
    claim = await compute(owner, machine, 2)
    await machine.call("release_task", p_token=claim["token"])
    [again] = await machine.claim()
    await owner.call("cancel_task", p_id=again["id"])
    assert await owner.credits() == 100


async def test_cancelling_between_attempts_costs_nothing(owner: Any, machine: Any) -> None:
    """While the task waits for its next attempt, nothing of it is computed."""
    claim = await compute(owner, machine, 2)
    await machine.call("fail_task", p_token=claim["token"], p_error_code="pipeline_failed")
    await owner.call("cancel_task", p_id=claim["id"])
    assert await owner.credits() == 100


@pytest.mark.parametrize(
    ("code", "attempts", "charged"), [("invalid_image", 1, 2), ("pipeline_failed", 3, 0)]
)
async def test_whose_fault_it_was_decides_on_the_charge(
    owner: Any, machine: Any, task_row: Any, due_now: Any, code: str, attempts: int, charged: int
) -> None:
    """The user's fault costs what was computed; ours costs nothing."""
    claim = await compute(owner, machine, 2)
    for left in reversed(range(attempts)):
        await machine.call("fail_task", p_token=claim["token"], p_error_code=code)
        if left:
            await due_now()
            [claim] = await machine.claim()
            report = {"p_token": claim["token"], "p_progress": 0.5, "p_computed": 2}
            await machine.call("report_progress", **report)
    row = await task_row(claim["id"])
    assert (row["status"], row["error_code"], row["charged"]) == ("failed", code, charged)
    assert await owner.credits() == 100 - charged


async def test_a_completion_charges_the_whole_hold(owner: Any, machine: Any, task_row: Any) -> None:
    """What was computed before does not make it cheaper."""
    claim = await compute(owner, machine, 1)
    assert await machine.complete(claim) == "ok"
    row = await task_row(claim["id"])
    assert (row["status"], row["charged"]) == ("done", 3)
    assert await entries(owner) == [("hold", 3), ("capture", 3)]


async def test_deleting_what_runs_costs_what_was_computed(owner: Any, machine: Any) -> None:
    """Deleting a live task cancels it first, at the cancel's price."""
    claim = await compute(owner, machine, 1)
    await owner.call("delete_result", p_id=claim["id"])
    assert await entries(owner) == [("hold", 3), ("capture", 1), ("remainder", 2)]


async def test_the_schema_refuses_a_second_remainder(
    owner: Any, machine: Any, operator: Any
) -> None:
    """The rest of a hold is given back once, whatever the functions do."""
    claim = await compute(owner, machine, 1)
    await owner.call("cancel_task", p_id=claim["id"])
    with pytest.raises(psycopg.errors.UniqueViolation):
        await operator.rows(
            "insert into public.usage_logs (user_id, action, credits_used, result_id)"
            " values (%s, 'remainder', 2, %s)",
            owner.id,
            claim["id"],
        )
