"""What happens when a receiver does not accept a delivery, and what it may ask for."""

import asyncio
import email.utils
import time
from collections.abc import AsyncIterator, Awaitable, Callable

import pytest
from aiohttp import web
from dispatchers import Dispatching, Got, Platform, Receiver, status

from devstack.testing import SignedUpUser


SCHEDULE = (5, 300, 1800, 7200, 18000, 36000, 50400, 72000, 86400)
"""Seconds before the second, third, ... attempt, with a jitter of a tenth."""

Eventually = Callable[..., Awaitable[None]]


@pytest.fixture
async def webhook(platform: Platform, user: SignedUpUser, receiver: Receiver) -> str:
    """The user's endpoint."""
    return (await platform.webhook(user, receiver.url))[0]


@pytest.mark.parametrize("code", [200, 201, 202, 204, 299])
async def test_any_2xx_is_success(
    platform: Platform,
    user: SignedUpUser,
    webhook: str,
    receiver: Receiver,
    dispatching: Dispatching,
    eventually: Eventually,
    code: int,
) -> None:
    """An answer from 200 to 299 ends the delivery."""
    receiver.answering = status(code)
    delivery = await platform.test(user, webhook)
    async with dispatching():
        await eventually(lambda: platform.attempted(delivery))

    row = await platform.delivery(delivery)
    assert (row["status"], row["last_status_code"]) == ("delivered", code)


@pytest.mark.parametrize("code", [301, 302, 307, 400, 401, 404, 409, 429, 500, 503])
async def test_anything_else_is_tried_again(
    platform: Platform,
    user: SignedUpUser,
    webhook: str,
    receiver: Receiver,
    dispatching: Dispatching,
    eventually: Eventually,
    code: int,
) -> None:
    """Any other answer leaves the delivery pending, and the answer in the log of attempts."""
    receiver.answering = status(code)
    delivery = await platform.test(user, webhook)
    async with dispatching():
        await eventually(lambda: platform.attempted(delivery))

    row = await platform.delivery(delivery)
    (attempt,) = await platform.attempts(delivery)
    assert (row["status"], row["attempt_count"], row["last_status_code"]) == ("pending", 1, code)
    assert (attempt["status_code"], attempt["error"]) == (code, None)


@pytest.mark.parametrize("failed", range(len(SCHEDULE)))
async def test_the_waits_are_those_of_the_spec(
    platform: Platform,
    user: SignedUpUser,
    webhook: str,
    receiver: Receiver,
    dispatching: Dispatching,
    eventually: Eventually,
    failed: int,
) -> None:
    """After each failure the next attempt is as far as Standard Webhooks says, within a tenth."""
    receiver.answering = status(500)
    delivery = await platform.test(user, webhook)
    await platform.rows("update webhook_deliveries set attempt_count = %s", failed)
    async with dispatching():
        await eventually(lambda: platform.attempted(delivery))

    wait = (await platform.delivery(delivery))["wait"]
    assert 0.9 * SCHEDULE[failed] <= wait <= 1.1 * SCHEDULE[failed]


async def test_after_the_last_attempt_it_is_dead(
    platform: Platform,
    user: SignedUpUser,
    webhook: str,
    receiver: Receiver,
    dispatching: Dispatching,
    eventually: Eventually,
) -> None:
    """Ten failed attempts make a dead letter, which is sent again only by a redelivery."""
    receiver.answering = status(500)
    delivery = await platform.test(user, webhook)
    async with dispatching():
        for attempt in range(1, len(SCHEDULE) + 2):
            await eventually(lambda n=attempt: platform.attempted(delivery, n))
            await platform.skip_waits()
        dead = await platform.delivery(delivery)
        receiver.answering = status(200)
        proof = await platform.test(user, webhook)
        await eventually(lambda: platform.settled(proof))
        silent = len(receiver.got)
        await platform.ask(user, "redeliver_webhook", p_delivery_id=delivery)
        await eventually(lambda: platform.settled(delivery))

    assert (dead["status"], dead["attempt_count"]) == ("dead", 10)
    assert receiver.ids == [delivery] * 10 + [proof, delivery]
    assert silent == 11
    assert (await platform.delivery(delivery))["status"] == "delivered"


@pytest.mark.parametrize("spelled", ["seconds", "date"])
async def test_retry_after_is_honoured(
    platform: Platform,
    user: SignedUpUser,
    webhook: str,
    receiver: Receiver,
    dispatching: Dispatching,
    eventually: Eventually,
    spelled: str,
) -> None:
    """A receiver that asks for an hour gets an hour, not the schedule's five seconds."""
    words = {"seconds": "3600", "date": email.utils.formatdate(time.time() + 3600, usegmt=True)}
    receiver.answering = status(429, Retry_After=words[spelled])
    delivery = await platform.test(user, webhook)
    async with dispatching():
        await eventually(lambda: platform.attempted(delivery))

    assert (await platform.delivery(delivery))["wait"] == pytest.approx(3600, abs=3)


async def test_without_an_answer_the_reason_is_kept(
    platform: Platform,
    user: SignedUpUser,
    webhook: str,
    receiver: Receiver,
    dispatching: Dispatching,
    eventually: Eventually,
) -> None:
    """A receiver that never answers costs the timeout, and the attempt says so."""

    async def never(_: Got) -> web.Response:
        await asyncio.Event().wait()
        raise AssertionError

    receiver.answering = never
    delivery = await platform.test(user, webhook)
    async with dispatching(timeout_seconds=0.3):
        await eventually(lambda: platform.attempted(delivery))

    (attempt,) = await platform.attempts(delivery)
    assert (attempt["status_code"], attempt["error"]) == (None, "No answer within 0.3 seconds.")
    assert 250 <= attempt["latency_ms"] <= 2000


async def test_a_closed_port_is_told(
    platform: Platform,
    user: SignedUpUser,
    dispatching: Dispatching,
    eventually: Eventually,
) -> None:
    """Where nobody listens, the attempt says so, without the network's own error."""
    webhook, _ = await platform.webhook(user, "http://127.0.0.1:9/hook")
    delivery = await platform.test(user, webhook)
    async with dispatching():
        await eventually(lambda: platform.attempted(delivery))

    (attempt,) = await platform.attempts(delivery)
    assert attempt["error"] == "No connection."


async def test_the_start_of_the_answer_is_kept(
    platform: Platform,
    user: SignedUpUser,
    webhook: str,
    receiver: Receiver,
    dispatching: Dispatching,
    eventually: Eventually,
) -> None:
    """1024 characters of any answer, even one of bytes that are no text."""
    receiver.answering = lambda _: web.Response(body=b"a\0\xff" + "ü".encode() * 100_000)
    delivery = await platform.test(user, webhook)
    async with dispatching():
        await eventually(lambda: platform.settled(delivery))

    (attempt,) = await platform.attempts(delivery)
    assert attempt["answer"] == "a\ufffd\ufffd" + "ü" * 1021


async def test_an_answer_that_drips_is_a_success_all_the_same(
    platform: Platform,
    user: SignedUpUser,
    webhook: str,
    receiver: Receiver,
    dispatching: Dispatching,
    eventually: Eventually,
) -> None:
    """The status counts when it came; a body without end is cut off, not waited for."""

    async def endless() -> AsyncIterator[bytes]:
        yield b"begun"
        await asyncio.Event().wait()

    receiver.answering = lambda _: web.Response(body=endless())
    delivery = await platform.test(user, webhook)
    async with dispatching():
        await eventually(lambda: platform.settled(delivery), seconds=10)

    (attempt,) = await platform.attempts(delivery)
    assert (attempt["status_code"], attempt["answer"], attempt["error"]) == (200, "begun", None)
