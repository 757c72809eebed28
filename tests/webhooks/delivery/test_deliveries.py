"""What a receiver gets: each event once, as it was written, with a signature that it can verify."""

import json
import re
import time
from collections.abc import Awaitable, Callable

import pytest
from dispatchers import Dispatching, Got, Platform, Receiver, status
from standardwebhooks import Webhook, WebhookVerificationError

from devstack.testing import SignedUpUser


EVENTS = ("task.done", "task.failed", "task.cancelled", "task.progress")

Eventually = Callable[..., Awaitable[None]]


async def move(platform: Platform, user: SignedUpUser, event: str) -> str:
    """Make a task cause *event*; its id."""
    claim = await platform.claimed_task(user)
    if event == "task.done":
        await platform.complete(claim)
    elif event == "task.failed":
        await platform.serve("fail_task", p_token=claim["token"], p_error_code="source_not_found")
    elif event == "task.cancelled":
        await platform.ask(user, "cancel_task", p_id=claim["id"])
    else:
        await platform.serve("report_progress", p_token=claim["token"], p_progress=0.5)
    return str(claim["id"])


def verified(secret: str, got: Got) -> object:
    """The body as the reference library verifies it; raises WebhookVerificationError."""
    return Webhook(secret).verify(got.body, got.headers)


@pytest.mark.parametrize("event", EVENTS)
async def test_each_event_arrives_once_and_verifies(
    platform: Platform,
    user: SignedUpUser,
    receiver: Receiver,
    dispatching: Dispatching,
    eventually: Eventually,
    event: str,
) -> None:
    """An endpoint that asked for an event gets it once, as the PyPI library accepts it."""
    _, secret = await platform.webhook(user, receiver.url, event)
    async with dispatching():
        task_id = await move(platform, user, event)
        (row,) = await platform.rows("select id, event from webhook_deliveries")
        await eventually(lambda: platform.settled(row["id"]))

    (got,) = receiver.got
    body = json.loads(got.body)
    assert verified(secret, got) == body
    assert (got.id, body["type"], body["data"]["task_id"]) == (row["id"], event, task_id)
    assert row["event"] == event
    assert got.headers["content-type"] == "application/json"
    assert got.headers["user-agent"].startswith("S3-Webhooks/")
    (delivery,) = await platform.rows("select status, attempt_count, body from webhook_deliveries")
    assert (delivery["status"], delivery["attempt_count"]) == ("delivered", 1)
    assert got.body == delivery["body"].encode()


async def test_a_body_with_other_letters_verifies_byte_by_byte(
    platform: Platform,
    user: SignedUpUser,
    receiver: Receiver,
    dispatching: Dispatching,
    eventually: Eventually,
) -> None:
    """The raw UTF-8 of a text beyond ASCII is what was signed; one changed byte is refused."""
    webhook, secret = await platform.webhook(user, receiver.url)
    delivery = await platform.test(user, webhook)
    text = '{"type": "webhook.test",  "say": "Grüße, 東京 🦊 \\u00e9"}'
    await platform.rows("update webhook_deliveries set body = %s", text)
    async with dispatching():
        await eventually(lambda: platform.settled(delivery))

    (got,) = receiver.got
    assert got.body == text.encode()
    assert verified(secret, got) == json.loads(text)
    forged = Got(path="", headers=got.headers, body=got.body.replace(b"G", b"g"), at=0)
    with pytest.raises(WebhookVerificationError):
        verified(secret, forged)


async def test_another_secret_does_not_verify(
    platform: Platform,
    user: SignedUpUser,
    receiver: Receiver,
    dispatching: Dispatching,
    eventually: Eventually,
) -> None:
    """Negative control: an endpoint's delivery fails under the secret of another endpoint."""
    webhook, _ = await platform.webhook(user, receiver.url)
    _, other_secret = await platform.webhook(user, receiver.url)
    delivery = await platform.test(user, webhook)
    async with dispatching():
        await eventually(lambda: platform.settled(delivery))

    with pytest.raises(WebhookVerificationError):
        verified(other_secret, receiver.got[0])


async def test_after_a_rotation_both_secrets_verify(
    platform: Platform,
    user: SignedUpUser,
    receiver: Receiver,
    dispatching: Dispatching,
    eventually: Eventually,
) -> None:
    """For a day a delivery carries two signatures, and the day after only the new one."""
    webhook, old = await platform.webhook(user, receiver.url)
    new = await platform.ask(user, "rotate_webhook_secret", p_id=webhook)
    async with dispatching():
        delivery = await platform.test(user, webhook)
        await eventually(lambda: platform.settled(delivery))
        await platform.rows(
            "update segmentation.webhook_secrets set expires_at = expires_at - interval '1 day'"
        )
        later = await platform.test(user, webhook)
        await eventually(lambda: platform.settled(later))

    both, one = receiver.got
    assert verified(old, both) == verified(new, both)
    assert verified(new, one)
    with pytest.raises(WebhookVerificationError):
        verified(old, one)


async def test_a_later_attempt_has_the_same_id_and_its_own_time(
    platform: Platform,
    user: SignedUpUser,
    receiver: Receiver,
    dispatching: Dispatching,
    eventually: Eventually,
) -> None:
    """The id and body of a retry are the first one's; timestamp and signature are its own."""
    webhook, secret = await platform.webhook(user, receiver.url)
    receiver.answering = status(500)
    delivery = await platform.test(user, webhook)
    async with dispatching():
        await eventually(lambda: platform.attempted(delivery))
        receiver.answering = status(200)
        while int(time.time()) <= int(receiver.got[0].at):
            await eventually(lambda: int(time.time()) > int(receiver.got[0].at))
        await platform.skip_waits()
        await eventually(lambda: platform.settled(delivery))

    first, second = receiver.got
    assert (first.id, first.body) == (second.id, second.body)
    assert first.headers["webhook-timestamp"] < second.headers["webhook-timestamp"]
    assert first.headers["webhook-signature"] != second.headers["webhook-signature"]
    assert verified(secret, second)
    assert re.fullmatch(r"msg_[0-9a-f]{32}", first.id)


async def test_a_redelivery_has_the_same_id(
    platform: Platform,
    user: SignedUpUser,
    receiver: Receiver,
    dispatching: Dispatching,
    eventually: Eventually,
) -> None:
    """A redelivered delivery comes again with the same id."""
    webhook, _ = await platform.webhook(user, receiver.url)
    delivery = await platform.test(user, webhook)
    async with dispatching():
        await eventually(lambda: platform.settled(delivery))
        await platform.ask(user, "redeliver_webhook", p_delivery_id=delivery)
        await eventually(lambda: platform.attempted(delivery, 2))

    assert receiver.ids == [delivery, delivery]
    assert (await platform.delivery(delivery))["status"] == "delivered"
