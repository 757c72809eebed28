"""Credits that come from outside: each payment once, each refund once."""

import asyncio
from typing import Any

import psycopg
import pytest


pytestmark = pytest.mark.usefixtures("all_is_paid")


async def test_a_top_up_counts_once(owner: Any, service: Any) -> None:
    """The same event again answers `duplicate` and the balance as it is."""
    payment = {"p_user_id": owner.id, "p_credits": 50, "p_event_id": "evt_1"}
    answers = [await service.call("top_up_credits", **payment) for _ in range(2)]
    assert answers == [
        {"answer": "ok", "credits": 150},
        {"answer": "duplicate", "credits": 150},
    ]


async def test_concurrent_top_ups_of_one_event_count_once(owner: Any, service: Any) -> None:
    """Of forty deliveries at once one is paid in."""
    payment = {"p_user_id": owner.id, "p_credits": 50, "p_event_id": "evt_1"}
    answers = await asyncio.gather(*(service.call("top_up_credits", **payment) for _ in range(40)))
    assert [answer["answer"] for answer in answers].count("ok") == 1
    assert await owner.credits() == 150


async def test_another_event_is_another_payment(owner: Any, service: Any) -> None:
    """Two payments of the same amount are two."""
    for event in ("evt_1", "evt_2"):
        await service.call("top_up_credits", p_user_id=owner.id, p_credits=5, p_event_id=event)
    assert await owner.credits() == 110


async def test_an_event_stands_for_one_payment(
    owner: Any, stranger: Any, service: Any, refused: Any
) -> None:
    """The same event with another amount or another user is refused, not hidden."""
    await service.call("top_up_credits", p_user_id=owner.id, p_credits=5, p_event_id="evt_1")
    for user, amount in ((owner, 6), (stranger, 5)):
        with refused("PT422", "idempotency_conflict"):
            await service.call(
                "top_up_credits", p_user_id=user.id, p_credits=amount, p_event_id="evt_1"
            )
    assert (await owner.credits(), await stranger.credits()) == (105, 100)


@pytest.mark.parametrize("change", [{"p_credits": 0}, {"p_event_id": ""}, {"p_event_id": None}])
async def test_a_payment_without_sense_is_refused(
    owner: Any, service: Any, refused: Any, change: Any
) -> None:
    """At least one credit, and a name for the event."""
    payment = {"p_user_id": owner.id, "p_credits": 5, "p_event_id": "evt_1"}
    with refused("PT400", "invalid_request"):
        await service.call("top_up_credits", **payment | change)


async def test_the_schema_refuses_an_event_twice(owner: Any, service: Any, operator: Any) -> None:
    """Whatever the functions do, one event is one row of the ledger."""
    await service.call("top_up_credits", p_user_id=owner.id, p_credits=5, p_event_id="evt_1")
    with pytest.raises(psycopg.errors.UniqueViolation):
        await operator.rows(
            "insert into public.usage_logs (user_id, action, credits_used, event_id)"
            " values (%s, 'grant', 5, 'evt_1')",
            owner.id,
        )


async def done(owner: Any, machine: Any) -> str:
    """A task of three credits that is done; its id."""
    task = await owner.submit(p_prompts=[{"text": "cat"}] * 3)
    [claim] = await machine.claim()
    await machine.complete(claim)
    return str(task["id"])


async def test_a_refund_is_given_once(owner: Any, machine: Any, service: Any) -> None:
    """What was captured comes back once; again answers `duplicate`."""
    task = {"p_result_id": await done(owner, machine), "p_reason": "wrong masks"}
    assert [await service.call("refund_task", **task) for _ in range(2)] == ["ok", "duplicate"]
    assert await owner.credits() == 100


async def test_concurrent_refunds_are_one(owner: Any, machine: Any, service: Any) -> None:
    """Of twenty refunds at once one is given."""
    task = {"p_result_id": await done(owner, machine), "p_reason": "wrong masks"}
    answers = await asyncio.gather(*(service.call("refund_task", **task) for _ in range(20)))
    assert sorted(answers) == ["duplicate"] * 19 + ["ok"]
    assert await owner.credits() == 100


async def test_a_refund_may_be_a_part(owner: Any, machine: Any, service: Any, refused: Any) -> None:
    """One to what was charged; more was never paid."""
    task = {"p_result_id": await done(owner, machine), "p_reason": "blurred"}
    for amount in (0, 4):
        with refused("PT400", "invalid_request"):
            await service.call("refund_task", **task, p_credits=amount)
    assert await service.call("refund_task", **task, p_credits=1) == "ok"
    assert await owner.credits() == 98


async def test_what_was_not_paid_is_not_refunded(owner: Any, service: Any, refused: Any) -> None:
    """A task without a capture has nothing to give back."""
    task = await owner.submit()
    await owner.call("cancel_task", p_id=task["id"])
    with refused("PT404", "not_found"):
        await service.call("refund_task", p_result_id=task["id"], p_reason="x")
    assert await owner.credits() == 100


async def test_a_deleted_result_can_still_be_refunded(
    owner: Any, machine: Any, service: Any
) -> None:
    """The ledger outlives the result, and so does the right to a refund."""
    task = await done(owner, machine)
    await owner.call("delete_result", p_id=task)
    assert await service.call("refund_task", p_result_id=task, p_reason="x") == "ok"
    assert await owner.credits() == 100
