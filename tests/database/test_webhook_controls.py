"""Negative controls: each guard of webhooks taken out in turn, and what it held back happens."""

import contextlib
from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest
from database.callers import Pool
from database.webhook_calls import (
    add_webhook,
    deliveries_of,
    endpoint_row,
    fail,
    hints_of_one_task,
    make_due,
    seconds_until_next,
    settle,
    take,
    tells,
)


Without = Callable[[str, str, str], contextlib.AbstractAsyncContextManager[None]]


@pytest.fixture
def without(operator: Any) -> Without:
    """Run with *guard* of a function replaced; the function is put back afterwards."""

    @contextlib.asynccontextmanager
    async def patched(function: str, guard: str, instead: str) -> AsyncIterator[None]:
        """Patch, yield, restore."""
        query = "select pg_get_functiondef(%s::regproc)"
        whole = await operator.value(query, f"segmentation.{function}")
        assert whole.count(guard) == 1, function
        await operator.rows(whole.replace(guard, instead).replace("%", "%%"))
        try:
            yield
        finally:
            await operator.rows(whole.replace("%", "%%"))

    return patched


async def told(operator: Any, webhook: Any) -> list[str]:
    """Events that an endpoint is to be told of."""
    return [row["event"] for row in await deliveries_of(operator, webhook)]


async def cancel_one(owner: Any) -> None:
    """Let a task of the owner's end."""
    task = await owner.submit()
    await owner.call("cancel_task", p_id=task["id"])


async def test_without_the_fence_a_late_dispatcher_settles(
    owner: Any, service: Any, operator: Any, without: Without
) -> None:
    """The token is what makes it stale."""
    made = await add_webhook(owner)
    await owner.call("test_webhook", p_id=made["id"])
    [late] = await take(service)
    await make_due(operator, made)
    await take(service)
    async with without("settle_delivery", "and deliveries.claim_token = p_claim_token", ""):
        assert await settle(service, late, 500) == "ok"


@pytest.mark.parametrize(
    ("guard", "instead"),
    [
        ("endpoints.user_id = new.user_id and ", ""),
        ("and endpoints.enabled and", "and"),
        ("and name = any(endpoints.events)", ""),
    ],
)
async def test_without_its_conditions_the_trigger_tells_others(
    owner: Any, stranger: Any, operator: Any, without: Without, guard: str, instead: str
) -> None:
    """Whose, on, subscribed: without one of them somebody hears who should not."""
    others = [
        await add_webhook(stranger),
        await add_webhook(owner),
        await add_webhook(owner, "{task.failed}"),
    ]
    await owner.call("update_webhook", p_id=others[1]["id"], p_enabled=False)
    async with without("write_deliveries", guard, instead):
        await cancel_one(owner)
    heard = [event for webhook in others for event in await told(operator, webhook)]
    assert heard == ["task.cancelled"]
    await cancel_one(owner)
    heard = [event for webhook in others for event in await told(operator, webhook)]
    assert heard == ["task.cancelled"]


async def test_without_the_throttle_each_step_is_told(
    owner: Any, machine: Any, operator: Any, without: Without
) -> None:
    """The five seconds are what makes three steps one event."""
    made = await add_webhook(owner, "{task.progress}")
    await owner.submit()
    [claim] = await machine.claim()
    async with without("write_deliveries", "interval '5 seconds'", "interval '-1 seconds'"):
        for progress in (0.1, 0.2, 0.3):
            await machine.call("report_progress", p_token=claim["token"], p_progress=progress)
    assert await told(operator, made) == ["task.progress"] * 3


async def test_without_the_probe_all_go_at_once(
    owner: Any, service: Any, operator: Any, without: Without
) -> None:
    """A half-open circuit that does not count lets the whole backlog out."""
    made = await add_webhook(owner)
    for _ in range(3):
        await owner.call("test_webhook", p_id=made["id"])
    await operator.rows("update public.webhook_endpoints set failures = 5")
    guard = "endpoints.failures < 5 or"
    async with without("claim_deliveries", guard, "true or"):
        assert len(await take(service)) == 3


async def test_without_the_circuit_a_paused_endpoint_is_served(
    owner: Any, service: Any, operator: Any, without: Without
) -> None:
    """The instant until which it is open is what holds deliveries back."""
    made = await add_webhook(owner)
    await owner.call("test_webhook", p_id=made["id"])
    await operator.rows(
        "update public.webhook_endpoints set circuit_open_until = now() + interval '1 hour'"
    )
    assert await take(service) == []
    guard = """
            and endpoints.enabled and coalesce(endpoints.circuit_open_until <= now(), true)
            and (endpoints.failures"""
    async with without("claim_deliveries", guard, " and (endpoints.failures"):
        assert len(await take(service)) == 1


async def test_without_the_wait_asked_for_others_go_at_once(
    owner: Any, service: Any, without: Without
) -> None:
    """The endpoint's own wait is what keeps its other deliveries from a busy receiver."""
    made = await add_webhook(owner)
    for _ in range(2):
        await owner.call("test_webhook", p_id=made["id"])
    [first] = await take(service, limit=1)
    async with without("note_endpoint", "now() + p_asked,", "null,"):
        await settle(service, first, 429, p_retry_after_seconds=60)
    assert len(await take(service)) == 1


async def test_without_retry_after_the_schedule_alone_counts(
    owner: Any, service: Any, operator: Any, without: Without
) -> None:
    """The greater of both is what makes a receiver's hour an hour."""
    made = await add_webhook(owner)
    await owner.call("test_webhook", p_id=made["id"])
    [claim] = await take(service)
    async with without("settle_delivery", "greatest(wait, asked)", "wait"):
        await settle(service, claim, 503, p_retry_after_seconds=3600)
    assert await seconds_until_next(operator, claim["id"]) <= 5.5


async def test_without_its_end_the_schedule_never_ends(
    owner: Any, service: Any, operator: Any, without: Without
) -> None:
    """The wait that is null is what makes a dead letter."""
    made = await add_webhook(owner)
    await owner.call("test_webhook", p_id=made["id"])
    await operator.rows("update public.webhook_deliveries set attempt_count = 9")
    guard, instead = "[p_attempt_count]", "[least(p_attempt_count, 9)]"
    async with without("delivery_wait", guard, instead):
        await fail(service, operator, made, 1)
    assert (await deliveries_of(operator, made))[0]["status"] == "pending"
    await fail(service, operator, made, 1)
    assert (await deliveries_of(operator, made))[0]["status"] == "dead"


async def test_without_its_jitter_all_waits_are_one(operator: Any, without: Without) -> None:
    """The dice are what keeps retries of one outage apart."""
    query = """
        select count(distinct segmentation.delivery_wait(1))::integer from generate_series(1, 50)
    """
    async with without("delivery_wait", "(0.9 + random() * 0.2)", "1.0"):
        assert await operator.value(query) == 1
    assert await operator.value(query) > 1


async def test_without_410_the_endpoint_is_asked_again(
    owner: Any, service: Any, operator: Any, without: Without
) -> None:
    """What switches it off is that its receiver said: gone."""
    made = await add_webhook(owner)
    await owner.call("test_webhook", p_id=made["id"])
    [claim] = await take(service)
    async with without("settle_delivery", "coalesce(p_status_code = 410, false)", "false"):
        await settle(service, claim, 410)
    assert (await endpoint_row(operator, made))["enabled"]
    await make_due(operator, made)
    assert len(await take(service)) == 1


async def test_without_the_owner_a_stranger_redelivers(
    owner: Any, stranger: Any, without: Without
) -> None:
    """Whose delivery it is is asked by the function itself."""
    made = await add_webhook(owner)
    delivery = await owner.call("test_webhook", p_id=made["id"])
    async with without("redeliver_webhook", "and deliveries.user_id = auth.uid()", ""):
        assert await stranger.call("redeliver_webhook", p_delivery_id=delivery) == "ok"


async def test_without_the_owner_a_stranger_deletes(
    owner: Any, stranger: Any, without: Without
) -> None:
    """So is whose endpoint it is."""
    made = await add_webhook(owner)
    async with without("own_webhook", "and endpoints.user_id = auth.uid()", ""):
        assert await stranger.call("delete_webhook", p_id=made["id"]) == "ok"


@pytest.mark.parametrize(
    ("guard", "state"),
    [
        ("attempts.ended_at is null", "ended"),
        ("attempts.lease_expires_at > now()", "silent"),
        ("attempts.machine_id is not distinct from auth.uid()", "guessed"),
    ],
)
async def test_without_its_guards_an_attempt_opens_objects(
    owner: Any,
    machine: Any,
    new_machine: Any,
    pass_lease: Any,
    without: Without,
    guard: str,
    state: str,
) -> None:
    """Ended, silent or another machine's: each is kept out by one condition."""
    await owner.submit()
    [claim] = await machine.claim()
    caller = machine
    if state == "ended":
        await machine.call("release_task", p_token=claim["token"])
    elif state == "silent":
        await pass_lease(claim["token"])
    else:
        caller = await new_machine()
    assert await caller.call("attempt_objects", p_token=claim["token"]) is None
    async with without("attempt_objects", guard, "true"):
        assert await caller.call("attempt_objects", p_token=claim["token"]) is not None


async def test_a_secret_in_a_header_would_be_seen(
    owner: Any, service: Any, operator: Any, pool: Pool, without: Without
) -> None:
    """A hint that carries what it signs with is what the law of secrecy is red for."""
    secret = await service.call("register_wake_target", p_name="a", p_url="http://127.0.0.1:9/x")
    guard = "'webhook-id', message_id,"
    try:
        async with without("notify_workers", guard, f"{guard} 'x-webhook-secret', target.secret,"):
            [open_hint] = await hints_of_one_task(pool, owner)
        [hint] = await hints_of_one_task(pool, owner)
    finally:
        await operator.rows("delete from segmentation.wake_targets")
    assert [tells(each, secret) for each in (open_hint, hint)] == [True, False]


async def test_without_its_end_an_old_secret_signs_for_ever(
    owner: Any, service: Any, operator: Any, pool: Pool, without: Without
) -> None:
    """The day is what ends it."""
    await service.call("register_wake_target", p_name="a", p_url="http://127.0.0.1:9/x")
    await service.call("rotate_wake_secret", p_name="a")
    await operator.rows("update segmentation.wake_targets set old_secret_until = now()")
    guard = "p_target.old_secret_until > now()"
    try:
        async with without("wake_secrets", guard, "true"):
            [late] = await hints_of_one_task(pool, owner)
        [hint] = await hints_of_one_task(pool, owner)
    finally:
        await operator.rows("delete from segmentation.wake_targets")
    signed = [len(each["headers"]["webhook-signature"].split()) for each in (late, hint)]
    assert signed == [2, 1]
