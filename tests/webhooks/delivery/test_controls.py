"""Negative controls: without each guard of an attempt, what it prevents happens."""

import uuid
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from typing import Any

import aiohttp
import pytest
from dispatchers import Dispatching, Platform, Receiver, status

from devstack.testing import SignedUpUser
from webhooks.delivery import sending
from webhooks.delivery.outbox import Delivery
from webhooks.delivery.sending import Sender


Eventually = Callable[..., Awaitable[None]]


async def test_a_client_that_follows_would_be_led_on(
    receiver: Receiver, other_receiver: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without `allow_redirects=False` a receiver sends the dispatcher wherever it wants."""
    post = aiohttp.ClientSession.post

    def following(self: aiohttp.ClientSession, url: str, **options: Any) -> Any:
        return post(self, url, **{**options, "allow_redirects": True})

    receiver.answering = status(307, Location=other_receiver.url)
    async with Sender(timeout_seconds=5, allow_private=True) as sender:
        stayed = await sender.send(_delivery(receiver.url))
        monkeypatch.setattr(aiohttp.ClientSession, "post", following)
        led = await sender.send(_delivery(receiver.url))

    assert (stayed.status_code, led.status_code) == (307, 200)
    assert [len(receiver.got), len(other_receiver.got)] == [2, 1]


async def test_a_retry_after_that_nobody_reads_counts_for_nothing(
    platform: Platform,
    user: SignedUpUser,
    receiver: Receiver,
    dispatching: Dispatching,
    eventually: Eventually,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Without the header's hour the next attempt comes after the schedule's five seconds."""
    monkeypatch.setattr(sending, "retry_after", lambda _: None)
    webhook, _ = await platform.webhook(user, receiver.url)
    receiver.answering = status(429, Retry_After="3600")
    delivery = await platform.test(user, webhook)
    async with dispatching():
        await eventually(lambda: platform.attempted(delivery))

    assert (await platform.delivery(delivery))["wait"] <= 5.5


def _delivery(url: str) -> Delivery:
    return Delivery(
        id="msg_one",
        claim_token=1,
        endpoint_id=uuid.uuid4(),
        url=url,
        secrets=("whsec_c2VjcmV0",),
        event="task.done",
        body="{}",
        attempt_count=0,
        created_at=datetime.now(UTC),
    )
