"""Deliveries: written by the transaction that moves the task, for those who asked."""

import json
import uuid
from datetime import datetime
from typing import Any

import pytest
from database.callers import Pool
from database.webhook_calls import add_webhook, deliveries_of, make_due, settle, take
from psycopg.rows import DictRow

from s3_sam3.contracts import webhooks


EVERYTHING = "{" + ",".join(webhooks.WebhookEvent) + "}"


async def events(operator: Any, webhook: DictRow) -> list[str]:
    """Events that an endpoint is to be told of, oldest first."""
    return [row["event"] for row in await deliveries_of(operator, webhook)]


async def finish(owner: Any, machine: Any) -> DictRow:
    """Submit a task and have it done; its claim."""
    await owner.submit()
    [claim] = await machine.claim()
    assert await machine.complete(claim) == "ok"
    return claim


async def test_each_end_of_a_task_has_its_event(owner: Any, machine: Any, operator: Any) -> None:
    """Done, failed and cancelled tasks each leave one delivery of that name."""
    made = await add_webhook(owner)
    await finish(owner, machine)
    await owner.submit()
    [claim] = await machine.claim()
    await machine.call("fail_task", p_token=claim["token"], p_error_code="invalid_image")
    task = await owner.submit()
    await owner.call("cancel_task", p_id=task["id"])
    assert await events(operator, made) == ["task.done", "task.failed", "task.cancelled"]


async def test_a_retry_is_no_end(owner: Any, machine: Any, operator: Any) -> None:
    """A task that goes back to pending is told to nobody."""
    made = await add_webhook(owner, EVERYTHING)
    await owner.submit()
    [claim] = await machine.claim()
    await machine.call("fail_task", p_token=claim["token"], p_error_code="pipeline_failed")
    assert await events(operator, made) == []


@pytest.mark.parametrize("commits", [True, False])
async def test_a_delivery_belongs_to_the_settling_transaction(
    owner: Any, machine: Any, operator: Any, pool: Pool, *, commits: bool
) -> None:
    """A settlement that is rolled back leaves no delivery; the control that commits leaves one."""
    made = await add_webhook(owner)
    await owner.submit()
    [claim] = await machine.claim()
    prefix = f"results/{claim['user_id']}/{claim['id']}/{claim['token']}/"
    async with (
        pool.connection() as connection,
        connection.transaction(force_rollback=not commits),
    ):
        await connection.execute(
            "select public.complete_task(%s, %s, %s, null, 1, '{}')",
            [claim["token"], prefix + "manifest.json", prefix + "mask.png"],
        )
        [row] = await (
            await connection.execute("select count(*) as n from public.webhook_deliveries")
        ).fetchall()
        assert row["n"] == 1
    assert await events(operator, made) == (["task.done"] if commits else [])


async def test_only_who_subscribed_is_told(owner: Any, machine: Any, operator: Any) -> None:
    """An endpoint hears of the events it named."""
    subscribed = await add_webhook(owner, "{task.done}")
    other = await add_webhook(owner, "{task.failed}")
    await finish(owner, machine)
    assert await events(operator, subscribed) == ["task.done"]
    assert await events(operator, other) == []


async def test_a_switched_off_webhook_is_not_told(owner: Any, machine: Any, operator: Any) -> None:
    """What happens while it is off is never told."""
    made = await add_webhook(owner)
    await owner.call("update_webhook", p_id=made["id"], p_enabled=False)
    await finish(owner, machine)
    await owner.call("update_webhook", p_id=made["id"], p_enabled=True)
    assert await events(operator, made) == []


async def test_only_the_owner_is_told(
    owner: Any, stranger: Any, machine: Any, operator: Any
) -> None:
    """Another user's endpoint hears nothing."""
    mine, theirs = await add_webhook(owner), await add_webhook(stranger)
    await finish(owner, machine)
    assert await events(operator, mine) == ["task.done"]
    assert await events(operator, theirs) == []


async def test_progress_is_told_to_those_who_ask_at_most_every_five_seconds(
    owner: Any, machine: Any, operator: Any
) -> None:
    """Two steps in a moment are one event; five seconds later there is another."""
    asked, silent = await add_webhook(owner, "{task.progress}"), await add_webhook(owner)
    await owner.submit()
    [claim] = await machine.claim()
    for progress in (0.1, 0.2, 0.3):
        await machine.call("report_progress", p_token=claim["token"], p_progress=progress)
    assert await events(operator, asked) == ["task.progress"]
    await operator.rows(
        "update public.webhook_deliveries set created_at = created_at - interval '5.001 seconds'"
    )
    await machine.call("report_progress", p_token=claim["token"], p_progress=0.4)
    assert await events(operator, asked) == ["task.progress"] * 2
    assert await events(operator, silent) == []


async def test_the_throttle_is_each_tasks_own(owner: Any, machine: Any, operator: Any) -> None:
    """One task's progress does not silence another's, nor a task's end."""
    made = await add_webhook(owner, EVERYTHING)
    await owner.queue(2)
    claims = await machine.claim(2)
    for claim in claims:
        await machine.call("report_progress", p_token=claim["token"], p_progress=0.5)
    await machine.complete(claims[0])
    assert await events(operator, made) == ["task.progress", "task.progress", "task.done"]


async def test_the_body_is_the_contracts(owner: Any, machine: Any, operator: Any) -> None:
    """The text parses as TaskEvent, has every field of it and no other, and says how it stands."""
    made = await add_webhook(owner)
    claim = await finish(owner, machine)
    [delivery] = await deliveries_of(operator, made)
    body = json.loads(delivery["body"])
    event = webhooks.TaskEvent.model_validate(body)
    assert body.keys() == webhooks.TaskEvent.model_fields.keys()
    assert body["data"].keys() == webhooks.TaskEventData.model_fields.keys()
    assert (event.type, event.data.status, event.data.progress) == ("task.done", "done", 1)
    assert event.data.task_id == uuid.UUID(str(claim["id"]))
    assert (event.data.instance_count, event.data.credits_charged) == (2, 1)
    assert event.data.error is None
    assert isinstance(event.data.finished_at, datetime)


async def test_the_body_of_a_failure_says_why(owner: Any, machine: Any, operator: Any) -> None:
    """The code and the user's sentence, and nothing that the worker said in detail."""
    made = await add_webhook(owner)
    await owner.submit()
    [claim] = await machine.claim()
    await machine.call(
        "fail_task", p_token=claim["token"], p_error_code="invalid_image", p_detail="inner words"
    )
    [delivery] = await deliveries_of(operator, made)
    error = webhooks.TaskEvent.model_validate_json(delivery["body"]).data.error
    assert error is not None
    assert error.code == "invalid_image"
    assert error.message
    assert "inner words" not in delivery["body"]


async def test_a_test_is_a_delivery_like_any_other(owner: Any, operator: Any, service: Any) -> None:
    """It names the webhook, whatever events that asked for, and a dispatcher is given it."""
    made = await add_webhook(owner)
    delivery_id = await owner.call("test_webhook", p_id=made["id"])
    [delivery] = await deliveries_of(operator, made)
    assert (delivery["id"], delivery["event"]) == (delivery_id, webhooks.TEST_EVENT)
    told = webhooks.WebhookTest.model_validate_json(delivery["body"])
    assert told.data.webhook_id == uuid.UUID(made["id"])
    assert [claim["id"] for claim in await take(service)] == [delivery_id]


async def test_a_switched_off_webhook_is_not_tested(owner: Any, refused: Any) -> None:
    """A test of what nothing is sent to says so."""
    made = await add_webhook(owner)
    await owner.call("update_webhook", p_id=made["id"], p_enabled=False)
    with refused("PT400", "invalid_request"):
        await owner.call("test_webhook", p_id=made["id"])


async def test_tests_are_bounded(owner: Any, operator: Any, refused: Any) -> None:
    """Ten a minute; the address may be somebody else's."""
    made = await add_webhook(owner)
    for _ in range(10):
        await owner.call("test_webhook", p_id=made["id"])
    with refused("PT429", "rate_limited"):
        await owner.call("test_webhook", p_id=made["id"])
    await operator.rows(
        "update public.webhook_deliveries set created_at = created_at - interval '61 seconds'"
    )
    assert await owner.call("test_webhook", p_id=made["id"])


async def test_a_redelivery_has_the_same_id_and_body(
    owner: Any, operator: Any, service: Any
) -> None:
    """What was delivered goes out again as it was, with a fresh schedule."""
    made = await add_webhook(owner)
    await owner.call("test_webhook", p_id=made["id"])
    [first] = await take(service)
    await settle(service, first, 200)
    assert await take(service) == []
    assert await owner.call("redeliver_webhook", p_delivery_id=first["id"]) == "ok"
    [again] = await take(service)
    assert (again["id"], again["body"]) == (first["id"], first["body"])
    assert again["attempt_count"] == 0
    assert len(await deliveries_of(operator, made)) == 1


async def test_a_redelivery_takes_it_from_whoever_sends(
    owner: Any, operator: Any, service: Any
) -> None:
    """The attempt under way is stale, so that it cannot end the fresh schedule."""
    made = await add_webhook(owner)
    await owner.call("test_webhook", p_id=made["id"])
    [first] = await take(service)
    await owner.call("redeliver_webhook", p_delivery_id=first["id"])
    assert await settle(service, first, 200) == "stale"
    await make_due(operator, made)
    [again] = await take(service)
    assert await settle(service, again, 200) == "ok"


async def test_nobody_redelivers_for_another(
    owner: Any, stranger: Any, service: Any, refused: Any
) -> None:
    """Another user's delivery is not there."""
    made = await add_webhook(owner)
    await owner.call("test_webhook", p_id=made["id"])
    [claim] = await take(service)
    await settle(service, claim, 200)
    with refused("PT404", "not_found"):
        await stranger.call("redeliver_webhook", p_delivery_id=claim["id"])
    assert await take(service) == []


async def test_what_ended_long_ago_is_pruned(
    owner: Any, operator: Any, service: Any, machine: Any
) -> None:
    """After that many days a delivery that ended is removed; one that waits stays."""
    made = await add_webhook(owner)
    await finish(owner, machine)
    [claim] = await take(service)
    await settle(service, claim, 200)
    await owner.call("test_webhook", p_id=made["id"])
    assert await service.call("prune_webhooks") == 0
    await operator.rows(
        "update public.webhook_deliveries set created_at = created_at - interval '31 days',"
        " finished_at = finished_at - interval '31 days'"
    )
    assert await service.call("prune_webhooks", p_days=32) == 0
    assert await service.call("prune_webhooks") == 1
    assert await events(operator, made) == [webhooks.TEST_EVENT]
    assert await operator.value("select count(*) from public.webhook_attempts") == 0


async def test_what_waits_for_a_webhook_that_stays_off_is_pruned(
    owner: Any, operator: Any, service: Any
) -> None:
    """Due for that many days: it goes, or each claim would look past it for ever."""
    made = await add_webhook(owner)
    await owner.call("test_webhook", p_id=made["id"])
    await owner.call("update_webhook", p_id=made["id"], p_enabled=False)
    assert await service.call("prune_webhooks") == 0
    await operator.rows(
        "update public.webhook_deliveries set next_attempt_at = now() - interval '31 days'"
    )
    assert await service.call("prune_webhooks") == 1
    assert await deliveries_of(operator, made) == []
