"""What a customer gets: each event once, as it was written, signed so that anybody can check it."""

import json
import re
import time
from collections.abc import Awaitable, Callable

import pytest
from dispatchers import Dispatching, Got, PostOffice, Receiver, status
from standardwebhooks import Webhook, WebhookVerificationError

from devstack.testing import SignedUpUser


EVENTS = ("task.done", "task.failed", "task.cancelled", "task.progress")

Eventually = Callable[..., Awaitable[None]]


async def move(office: PostOffice, user: SignedUpUser, event: str) -> str:
    """Have a task do what *event* tells of; its id."""
    claim = await office.claimed_task(user)
    if event == "task.done":
        await office.complete(claim)
    elif event == "task.failed":
        await office.serve("fail_task", p_token=claim["token"], p_error_code="source_not_found")
    elif event == "task.cancelled":
        await office.ask(user, "cancel_task", p_id=claim["id"])
    else:
        await office.serve("report_progress", p_token=claim["token"], p_progress=0.5)
    return str(claim["id"])


def verified(secret: str, got: Got) -> object:
    """What the field's own library reads; raises WebhookVerificationError."""
    return Webhook(secret).verify(got.body, got.headers)


@pytest.mark.parametrize("event", EVENTS)
async def test_each_event_arrives_once_and_verifies(
    office: PostOffice,
    user: SignedUpUser,
    receiver: Receiver,
    dispatching: Dispatching,
    eventually: Eventually,
    event: str,
) -> None:
    """An endpoint that asked for an event gets it once, as the PyPI library accepts it."""
    _, secret = await office.webhook(user, receiver.url, event)
    async with dispatching():
        task_id = await move(office, user, event)
        (row,) = await office.rows("select id, event from webhook_deliveries")
        await eventually(lambda: office.settled(row["id"]))

    (got,) = receiver.got
    body = json.loads(got.body)
    assert verified(secret, got) == body
    assert (got.id, body["type"], body["data"]["task_id"]) == (row["id"], event, task_id)
    assert row["event"] == event
    assert got.headers["content-type"] == "application/json"
    assert got.headers["user-agent"].startswith("S3-Webhooks/")
    (delivery,) = await office.rows("select status, attempt_count, body from webhook_deliveries")
    assert (delivery["status"], delivery["attempt_count"]) == ("delivered", 1)
    assert got.body == delivery["body"].encode()


async def test_a_body_with_other_letters_verifies_byte_by_byte(
    office: PostOffice,
    user: SignedUpUser,
    receiver: Receiver,
    dispatching: Dispatching,
    eventually: Eventually,
) -> None:
    """The raw UTF-8 of a text beyond ASCII is what was signed; one changed byte is refused."""
    webhook, secret = await office.webhook(user, receiver.url)
    delivery = await office.test(user, webhook)
    text = '{"type": "webhook.test",  "say": "Grüße, 東京 🦊 \\u00e9"}'
    await office.rows("update webhook_deliveries set body = %s", text)
    async with dispatching():
        await eventually(lambda: office.settled(delivery))

    (got,) = receiver.got
    assert got.body == text.encode()
    assert verified(secret, got) == json.loads(text)
    forged = Got(path="", headers=got.headers, body=got.body.replace(b"G", b"g"), at=0)
    with pytest.raises(WebhookVerificationError):
        verified(secret, forged)


async def test_another_secret_does_not_verify(
    office: PostOffice,
    user: SignedUpUser,
    receiver: Receiver,
    dispatching: Dispatching,
    eventually: Eventually,
) -> None:
    """Negative control: an endpoint's delivery fails under the secret of another endpoint."""
    webhook, _ = await office.webhook(user, receiver.url)
    _, other_secret = await office.webhook(user, receiver.url)
    delivery = await office.test(user, webhook)
    async with dispatching():
        await eventually(lambda: office.settled(delivery))

    with pytest.raises(WebhookVerificationError):
        verified(other_secret, receiver.got[0])


async def test_after_a_rotation_both_secrets_verify(
    office: PostOffice,
    user: SignedUpUser,
    receiver: Receiver,
    dispatching: Dispatching,
    eventually: Eventually,
) -> None:
    """For a day a delivery carries two signatures, and the day after only the new one."""
    webhook, old = await office.webhook(user, receiver.url)
    new = await office.ask(user, "rotate_webhook_secret", p_id=webhook)
    async with dispatching():
        delivery = await office.test(user, webhook)
        await eventually(lambda: office.settled(delivery))
        await office.rows(
            "update segmentation.webhook_secrets set expires_at = expires_at - interval '1 day'"
        )
        later = await office.test(user, webhook)
        await eventually(lambda: office.settled(later))

    both, one = receiver.got
    assert verified(old, both) == verified(new, both)
    assert verified(new, one)
    with pytest.raises(WebhookVerificationError):
        verified(old, one)


async def test_a_later_attempt_has_the_same_id_and_its_own_time(
    office: PostOffice,
    user: SignedUpUser,
    receiver: Receiver,
    dispatching: Dispatching,
    eventually: Eventually,
) -> None:
    """The id and body of a retry are the first one's; timestamp and signature are its own."""
    webhook, secret = await office.webhook(user, receiver.url)
    receiver.answering = status(500)
    delivery = await office.test(user, webhook)
    async with dispatching():
        await eventually(lambda: office.attempted(delivery))
        receiver.answering = status(200)
        while int(time.time()) <= int(receiver.got[0].at):
            await eventually(lambda: int(time.time()) > int(receiver.got[0].at))
        await office.skip_waits()
        await eventually(lambda: office.settled(delivery))

    first, second = receiver.got
    assert (first.id, first.body) == (second.id, second.body)
    assert first.headers["webhook-timestamp"] < second.headers["webhook-timestamp"]
    assert first.headers["webhook-signature"] != second.headers["webhook-signature"]
    assert verified(secret, second)
    assert re.fullmatch(r"msg_[0-9a-f]{32}", first.id)


async def test_a_redelivery_has_the_same_id(
    office: PostOffice,
    user: SignedUpUser,
    receiver: Receiver,
    dispatching: Dispatching,
    eventually: Eventually,
) -> None:
    """What was delivered and is asked for again comes again, under the id the receiver knows."""
    webhook, _ = await office.webhook(user, receiver.url)
    delivery = await office.test(user, webhook)
    async with dispatching():
        await eventually(lambda: office.settled(delivery))
        await office.ask(user, "redeliver_webhook", p_delivery_id=delivery)
        await eventually(lambda: office.attempted(delivery, 2))

    assert receiver.ids == [delivery, delivery]
    assert (await office.delivery(delivery))["status"] == "delivered"
