"""`python -m webhooks.delivery` as an operator meets it: started, stopped, killed, doubled."""

import asyncio
import json
import signal
from collections import Counter
from collections.abc import Awaitable, Callable

import pytest
from aiohttp import web
from dispatchers import Got, Platform, Receiver, Spawn, status

from devstack.testing import SignedUpUser


Eventually = Callable[..., Awaitable[None]]

QUICK = {"poll_seconds": 0.05}
QUICK_LEASE = {**QUICK, "lease_seconds": 2, "timeout_seconds": 1}


@pytest.fixture
async def webhook(platform: Platform, user: SignedUpUser, receiver: Receiver) -> str:
    """The user's endpoint."""
    return (await platform.webhook(user, receiver.url))[0]


@pytest.mark.parametrize(
    ("changed", "named"),
    [
        ({"SUPABASE_URL": ""}, "SUPABASE_URL"),
        ({"SUPABASE_SERVICE_KEY": ""}, "SUPABASE_SERVICE_KEY"),
        ({"DISPATCHER_ALLOW_PRIVATE": "perhaps"}, "DISPATCHER_ALLOW_PRIVATE"),
    ],
)
async def test_wrong_settings_are_one_sentence(
    spawn: Spawn, changed: dict[str, str], named: str
) -> None:
    """A missing or wrong setting is named, and the exit status is 78."""
    dispatcher = await spawn(**changed)

    assert await dispatcher.process.wait() == 78
    await asyncio.sleep(0)
    said = "".join(dispatcher.other)
    assert named in said
    assert "Traceback" not in said


async def test_a_wrong_key_is_told_at_the_start(
    platform: Platform, spawn: Spawn, eventually: Eventually
) -> None:
    """The anon key as service key ends the process with 78, and is not shown."""
    dispatcher = await spawn(SUPABASE_SERVICE_KEY=platform.stack.anon_key)

    assert await dispatcher.process.wait() == 78
    await eventually(lambda: bool(dispatcher.other))
    assert "refuses" in "".join(dispatcher.other)
    assert platform.stack.anon_key not in "".join(dispatcher.other)


async def test_private_addresses_are_refused_by_default(
    platform: Platform,
    user: SignedUpUser,
    webhook: str,
    receiver: Receiver,
    spawn: Spawn,
    eventually: Eventually,
) -> None:
    """By default a process does not connect to this machine's own addresses."""
    delivery = await platform.test(user, webhook)
    await spawn(DISPATCHER_ALLOW_PRIVATE="")
    await eventually(lambda: platform.attempted(delivery), seconds=20)

    (attempt,) = await platform.attempts(delivery)
    assert attempt["error"] == "The address is not public, or not https."
    assert receiver.got == []


async def test_permission_for_private_addresses_is_in_the_log(
    platform: Platform, spawn: Spawn, eventually: Eventually
) -> None:
    """Each start with private addresses allowed logs a warning."""
    dispatcher = await spawn()
    await eventually(lambda: bool(dispatcher.said("dispatcher_started")), seconds=20)

    (line,) = dispatcher.said("private_addresses_allowed")
    assert line["level"] == "warning"


async def test_a_stop_ends_what_is_being_sent(
    platform: Platform,
    user: SignedUpUser,
    webhook: str,
    receiver: Receiver,
    spawn: Spawn,
    eventually: Eventually,
) -> None:
    """After SIGTERM nothing new is claimed, the open attempt is settled, the exit status is 0."""
    free = asyncio.Event()

    async def hold(_: Got) -> web.Response:
        await free.wait()
        return web.Response()

    receiver.answering = hold
    delivery = await platform.test(user, webhook)
    dispatcher = await spawn()
    await eventually(lambda: receiver.ids == [delivery], seconds=20)

    dispatcher.process.terminate()
    later = await platform.test(user, webhook)
    free.set()

    assert await dispatcher.process.wait() == 0
    assert (await platform.delivery(delivery))["status"] == "delivered"
    assert (await platform.delivery(later))["attempt_count"] == 0
    await eventually(lambda: bool(dispatcher.said("dispatcher_stopped")))
    assert dispatcher.said("dispatcher_stopped")[0]["attempts"]["delivered"] == 1


async def test_a_killed_dispatchers_work_is_done_after_its_lease(
    platform: Platform,
    user: SignedUpUser,
    webhook: str,
    receiver: Receiver,
    spawn: Spawn,
    eventually: Eventually,
) -> None:
    """SIGKILL between the answer and its settlement: the same id comes again, and is settled."""
    started = asyncio.Event()

    async def hang(_: Got) -> web.Response:
        started.set()
        await asyncio.Event().wait()
        raise AssertionError

    receiver.answering = hang
    delivery = await platform.test(user, webhook)
    killed = await spawn(QUICK_LEASE)
    async with asyncio.timeout(20):
        await started.wait()
    killed.process.send_signal(signal.SIGKILL)
    await killed.process.wait()
    receiver.answering = status(200)
    await spawn(QUICK_LEASE)
    await eventually(lambda: platform.settled(delivery), seconds=20)

    assert receiver.ids == [delivery, delivery]
    assert receiver.got[1].at - receiver.got[0].at >= 1
    row = await platform.delivery(delivery)
    assert (row["status"], row["attempt_count"]) == ("delivered", 1)


async def test_two_dispatchers_send_nothing_twice(
    platform: Platform,
    webhook: str,
    receiver: Receiver,
    spawn: Spawn,
    eventually: Eventually,
) -> None:
    """Of 300 deliveries that two processes share, each arrives once, and both have sent some."""
    both = [await spawn(QUICK), await spawn(QUICK)]
    await eventually(lambda: all(each.said("dispatcher_started") for each in both), seconds=20)
    deliveries = await platform.messages(webhook, 300)
    await eventually(lambda: platform.settled(*deliveries), seconds=20)

    assert Counter(receiver.ids) == Counter(deliveries)
    assert all(each.said("delivery_sent") for each in both)
    assert [each.said("delivery_stale") for each in both] == [[], []]


async def test_without_a_lease_two_dispatchers_send_twice(
    platform: Platform,
    webhook: str,
    receiver: Receiver,
    spawn: Spawn,
    eventually: Eventually,
) -> None:
    """Negative control: a claim that ends at once is sent again, and its settlement is stale."""

    async def slow(_: Got) -> web.Response:
        await platform.rows("update webhook_deliveries set next_attempt_at = now()")
        await asyncio.sleep(0.3)
        return web.Response()

    receiver.answering = slow
    both = [await spawn(QUICK), await spawn(QUICK)]
    (delivery,) = await platform.messages(webhook, 1)
    await eventually(lambda: any(each.said("delivery_stale") for each in both), seconds=20)

    assert receiver.ids.count(delivery) >= 2


async def test_a_redelivery_takes_a_delivery_from_who_is_sending_it(
    platform: Platform,
    user: SignedUpUser,
    webhook: str,
    receiver: Receiver,
    spawn: Spawn,
    eventually: Eventually,
) -> None:
    """An answer to what was redelivered meanwhile is stale: it settles nothing, and is logged."""
    free = asyncio.Event()

    async def hold(_: Got) -> web.Response:
        if len(receiver.got) == 1:
            await free.wait()
            return web.Response(status=410)
        return web.Response()

    receiver.answering = hold
    delivery = await platform.test(user, webhook)
    dispatcher = await spawn(QUICK)
    await eventually(lambda: len(receiver.got) == 1, seconds=20)
    await platform.ask(user, "redeliver_webhook", p_delivery_id=delivery)
    await eventually(lambda: platform.settled(delivery))
    free.set()
    await eventually(lambda: bool(dispatcher.said("delivery_stale")))

    row = await platform.delivery(delivery)
    assert (row["status"], row["attempt_count"]) == ("delivered", 1)


async def test_nothing_it_logs_is_a_secret(
    platform: Platform,
    user: SignedUpUser,
    receiver: Receiver,
    spawn: Spawn,
    eventually: Eventually,
) -> None:
    """Neither the service key nor a user's secret or body is in the log."""
    webhook, secret = await platform.webhook(user, receiver.url)
    delivery = await platform.test(user, webhook)
    dispatcher = await spawn()
    await eventually(lambda: bool(dispatcher.said("delivery_sent")), seconds=20)
    dispatcher.process.terminate()
    await dispatcher.process.wait()

    said = json.dumps(dispatcher.lines) + "".join(dispatcher.other)
    assert delivery in said
    assert platform.stack.service_key not in said
    assert secret not in said
    assert "webhook_id" not in said
