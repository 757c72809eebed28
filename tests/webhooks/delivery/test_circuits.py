"""An endpoint that is gone, broken or slow gets no more requests; the others are not affected."""

import asyncio
from collections.abc import Awaitable, Callable

import pytest
from aiohttp import web
from dispatchers import Dispatching, Got, Platform, Receiver, status

from devstack.testing import SignedUpUser


Eventually = Callable[..., Awaitable[None]]


@pytest.fixture
async def webhook(platform: Platform, user: SignedUpUser, receiver: Receiver) -> str:
    """The user's endpoint."""
    return (await platform.webhook(user, receiver.url))[0]


async def test_gone_switches_the_endpoint_off(
    platform: Platform,
    user: SignedUpUser,
    webhook: str,
    receiver: Receiver,
    dispatching: Dispatching,
    eventually: Eventually,
) -> None:
    """410 ends the delivery and disables the endpoint; its other deliveries are not sent."""
    receiver.answering = lambda got: web.Response(status=410 if got.path == "/hook" else 200)
    async with dispatching(per_endpoint=1):
        both = await platform.messages(webhook, 2)
        await eventually(lambda: any_settled(platform))
        await platform.rows("update webhook_deliveries set next_attempt_at = now()")
        await one_poll(platform, user, receiver, eventually)

    (endpoint,) = await platform.rows("select * from webhook_endpoints where id = %s", webhook)
    assert (endpoint["enabled"], endpoint["disabled_reason"]) == (False, "gone")
    states = [(await platform.delivery(each))["status"] for each in both]
    assert sorted(states) == ["dead", "pending"]
    assert [got.path for got in receiver.got].count("/hook") == 1


async def test_five_failures_in_a_row_open_the_circuit(
    platform: Platform,
    user: SignedUpUser,
    webhook: str,
    receiver: Receiver,
    dispatching: Dispatching,
    eventually: Eventually,
) -> None:
    """Of twenty deliveries a broken endpoint gets five; another endpoint gets its own."""
    receiver.answering = lambda got: web.Response(status=500 if got.path == "/hook" else 200)
    waiting = await platform.messages(webhook, 20)
    async with dispatching():
        await eventually(lambda: failures(platform, webhook, 5))
        await platform.rows("update webhook_deliveries set next_attempt_at = now()")
        await one_poll(platform, user, receiver, eventually)

    (endpoint,) = await platform.rows(
        "select extract(epoch from circuit_open_until - now())::float as open"
        " from webhook_endpoints where id = %s",
        webhook,
    )
    assert 5 < endpoint["open"] <= 10
    assert len([delivery for delivery in receiver.ids if delivery in waiting]) == 5


async def test_a_busy_endpoint_is_left_in_peace(
    platform: Platform,
    user: SignedUpUser,
    webhook: str,
    receiver: Receiver,
    dispatching: Dispatching,
    eventually: Eventually,
) -> None:
    """Of twenty deliveries a receiver that asks for a minute gets the four that were open."""
    receiver.answering = lambda got: web.Response(
        status=429 if got.path == "/hook" else 200, headers={"Retry-After": "60"}
    )
    waiting = await platform.messages(webhook, 20)
    async with dispatching():
        await eventually(lambda: failures(platform, webhook, 4))
        await platform.rows("update webhook_deliveries set next_attempt_at = now()")
        await one_poll(platform, user, receiver, eventually)

    assert len([delivery for delivery in receiver.ids if delivery in waiting]) == 4


async def test_a_circuit_that_was_open_is_tried_with_one(
    platform: Platform,
    user: SignedUpUser,
    webhook: str,
    receiver: Receiver,
    dispatching: Dispatching,
    eventually: Eventually,
) -> None:
    """A half-open circuit lets one delivery through; if it fails, the circuit opens for longer."""
    receiver.answering = lambda got: web.Response(status=500 if got.path == "/hook" else 200)
    waiting = await platform.messages(webhook, 20)
    async with dispatching():
        await eventually(lambda: failures(platform, webhook, 5))
        await platform.skip_waits()
        await eventually(lambda: failures(platform, webhook, 6))
        await one_poll(platform, user, receiver, eventually)
        half_open = len([got for got in receiver.got if got.path == "/hook"])
        receiver.answering = status(200)
        await platform.skip_waits()
        await eventually(lambda: platform.settled(*waiting))

    assert half_open == 6
    assert await failures(platform, webhook, 0)
    (endpoint,) = await platform.rows("select * from webhook_endpoints where id = %s", webhook)
    assert endpoint["circuit_open_until"] is None


async def test_a_slow_endpoint_does_not_hold_up_another(
    platform: Platform,
    user: SignedUpUser,
    webhook: str,
    receiver: Receiver,
    other_receiver: Receiver,
    dispatching: Dispatching,
    eventually: Eventually,
) -> None:
    """Behind 300 deliveries to an endpoint that hangs, another endpoint's comes at once."""
    free = asyncio.Event()

    async def hang(_: Got) -> web.Response:
        await free.wait()
        return web.Response()

    receiver.answering = hang
    await platform.messages(webhook, 300)
    async with dispatching():
        await eventually(lambda: len(receiver.got) == 4)
        other, _ = await platform.webhook(user, other_receiver.url)
        delivery = await platform.test(user, other)
        await eventually(lambda: platform.settled(delivery))
        held = len(receiver.got)
        free.set()

    assert held == 4


async def failures(platform: Platform, webhook: str, count: int) -> bool:
    """Whether the endpoint has failed that often in a row."""
    query = "select 1 from webhook_endpoints where id = %s and failures = %s"
    return len(await platform.rows(query, webhook, count)) == 1


async def any_settled(platform: Platform) -> bool:
    """Whether a delivery has ended."""
    return bool(await platform.rows("select 1 from webhook_deliveries where status <> 'pending'"))


async def one_poll(
    platform: Platform, user: SignedUpUser, receiver: Receiver, eventually: Eventually
) -> None:
    """Wait until the dispatcher has looked again: until an endpoint made now got its delivery."""
    webhook, _ = await platform.webhook(user, receiver.url + "/proof")
    for _ in range(2):
        delivery = await platform.test(user, webhook)
        await eventually(lambda: platform.attempted(delivery))  # noqa: B023 - awaited in the loop
