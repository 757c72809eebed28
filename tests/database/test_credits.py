"""The ledger: each credit is granted, held, then captured or released, once."""

from collections.abc import Awaitable, Callable
from typing import Any

import psycopg
import pytest


async def ledger(owner: Any) -> list[tuple[str, int]]:
    """The owner's ledger, oldest first."""
    rows = await owner.rows("select * from public.usage_logs order by id")
    return [(row["action"], row["credits_used"]) for row in rows]


async def test_a_new_user_starts_with_a_hundred_credits(owner: Any) -> None:
    """Signing up makes a profile and a grant in the ledger."""
    assert await owner.value("select credits from public.users_profile") == 100
    assert await ledger(owner) == [("grant", 100)]


async def test_a_done_task_is_paid(owner: Any, machine: Any) -> None:
    """Done: held, then captured; the balance falls once."""
    await owner.submit()
    assert await owner.value("select credits from public.users_profile") == 99
    [claim] = await machine.claim()
    await machine.complete(claim)
    assert await owner.value("select credits from public.users_profile") == 99
    assert await ledger(owner) == [("grant", 100), ("hold", 1), ("capture", 1)]


async def fail(owner: Any, machine: Any, task: Any) -> None:
    """End a task by an error."""
    [claim] = await machine.claim()
    await machine.call("fail_task", p_token=claim["token"], p_error_code="invalid_image")


async def cancel(owner: Any, machine: Any, task: Any) -> None:
    """End a task by its owner's wish."""
    await owner.call("cancel_task", p_id=task["id"])


async def delete(owner: Any, machine: Any, task: Any) -> None:
    """Delete a task that still waits."""
    await owner.call("delete_result", p_id=task["id"])


@pytest.mark.usefixtures("all_is_paid")
@pytest.mark.parametrize("end", [fail, cancel, delete])
async def test_a_task_without_a_result_costs_nothing(
    owner: Any, machine: Any, end: Callable[[Any, Any, Any], Awaitable[None]]
) -> None:
    """Failed, cancelled or deleted while live: the hold is given back."""
    task = await owner.submit(p_prompts=[{"text": "cat"}] * 3)
    assert await owner.value("select credits from public.users_profile") == 97
    await end(owner, machine, task)
    assert await owner.value("select credits from public.users_profile") == 100
    assert await ledger(owner) == [("grant", 100), ("hold", 3), ("release", 3)]


@pytest.mark.usefixtures("all_is_paid")
async def test_a_retry_keeps_the_hold(owner: Any, machine: Any) -> None:
    """A task that goes back to pending stays paid for, once."""
    await owner.submit()
    [claim] = await machine.claim()
    await machine.call("fail_task", p_token=claim["token"], p_error_code="pipeline_failed")
    assert await ledger(owner) == [("grant", 100), ("hold", 1)]


@pytest.mark.usefixtures("all_is_paid")
async def test_deleting_a_paid_result_gives_nothing_back(owner: Any, machine: Any) -> None:
    """The ledger outlives the result."""
    task = await owner.submit()
    [claim] = await machine.claim()
    await machine.complete(claim)
    await owner.call("delete_result", p_id=task["id"])
    assert await ledger(owner) == [("grant", 100), ("hold", 1), ("capture", 1)]


@pytest.mark.parametrize("action", ["hold", "capture", "release"])
async def test_the_schema_refuses_a_second_settlement(
    owner: Any, machine: Any, operator: Any, action: str
) -> None:
    """A captured task can be neither captured again nor released, whatever the functions do."""
    task = await owner.submit()
    [claim] = await machine.claim()
    await machine.complete(claim)
    with pytest.raises(psycopg.errors.UniqueViolation):
        await operator.rows(
            "insert into public.usage_logs (user_id, action, credits_used, result_id)"
            " values (%s, %s, 1, %s)",
            owner.id,
            action,
            task["id"],
        )


@pytest.mark.parametrize(
    "change", ["update public.usage_logs set credits_used = 0", "delete from public.usage_logs"]
)
async def test_the_ledger_is_append_only(owner: Any, operator: Any, change: str) -> None:
    """Not even the operator changes what is written."""
    with pytest.raises(psycopg.errors.RestrictViolation):
        await operator.rows(change)


async def test_the_balance_cannot_fall_below_zero(owner: Any, operator: Any) -> None:
    """The schema itself refuses a debt."""
    with pytest.raises(psycopg.errors.CheckViolation):
        await operator.rows("update public.users_profile set credits = -1")


async def test_an_operator_grants_credits(owner: Any, service: Any, refused: Any) -> None:
    """A grant answers the new balance and says why it was given."""
    gift = {"p_user_id": owner.id, "p_reason": "gift"}
    assert await service.call("grant_credits", p_credits=50, **gift) == 150
    reasons = await owner.rows("select reason from public.usage_logs order by id")
    assert [row["reason"] for row in reasons] == ["sign-up", "gift"]
    with refused("PT400", "invalid_request"):
        await service.call("grant_credits", p_credits=0, **gift)


@pytest.mark.parametrize(
    "damage",
    [
        "update public.users_profile set credits = credits + 1",
        (
            "insert into public.usage_logs (user_id, action, credits_used)"
            " select id, 'grant', 5 from public.users_profile"
        ),
        (
            "insert into public.usage_logs (user_id, action, credits_used, result_id)"
            " select user_id, 'capture', cost, id from public.segmentation_results"
        ),
        "delete from public.segmentation_results",
        "update public.segmentation_results set cost = 7",
        (
            "update public.segmentation_results"
            " set status = 'cancelled', finished_at = now(), charged = 0"
        ),
    ],
)
async def test_a_mismatch_is_found(owner: Any, operator: Any, damage: str) -> None:
    """Negative control of the invariant: each kind of damage shows in ledger_mismatches."""
    await owner.submit()
    mismatches = "select * from segmentation.ledger_mismatches()"
    assert await operator.rows(mismatches) == []
    await operator.rows(damage)
    assert await operator.rows(mismatches) != []
