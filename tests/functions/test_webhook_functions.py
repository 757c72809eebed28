"""notify-listener and deliver-webhooks on a devstack, with receivers of this process."""

import asyncio
import json
import time
import uuid
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

import aiohttp
import psycopg
import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer

from adapters import rest
from devstack import testing
from s3_sam3 import signatures


SHARED_SECRET = "a secret of the dashboard"

NEWS = {
    "type": "INSERT",
    "schema": "public",
    "table": "segmentation_results",
    "record": {"id": str(uuid.uuid4()), "kind": "image", "status": "pending", "prompts": ["Zoë"]},
    "old_record": None,
}


@dataclass(kw_only=True)
class Receiver:
    """Takes webhooks; `statuses` are its next answers, then 204."""

    url: str = ""
    statuses: list[int] = field(default_factory=list)
    headers: dict[str, str] = field(default_factory=dict)
    """Headers of its answers."""
    taken: "asyncio.Queue[tuple[dict[str, str], bytes]]" = field(default_factory=asyncio.Queue)

    async def take(self, request: web.Request) -> web.Response:
        """Keep the webhook and answer."""
        named = {name.lower(): value for name, value in request.headers.items()}
        self.taken.put_nowait((named, await request.read()))
        status = self.statuses.pop(0) if self.statuses else 204
        return web.Response(status=status, headers=self.headers)

    async def next(self) -> tuple[dict[str, str], bytes]:
        """Headers and body of the next webhook."""
        async with asyncio.timeout(10):
            return await self.taken.get()


@pytest.fixture(scope="module")
def functional(tmp_path_factory: pytest.TempPathFactory) -> Iterator[testing.Stack]:
    """A devstack whose functions know the shared secret and may call this machine."""
    root = tmp_path_factory.mktemp("functional")
    (root / "secrets").write_text(
        f"NOTIFY_LISTENER_SECRET={SHARED_SECRET}\nDISPATCHER_ALLOW_PRIVATE=true\n"
    )
    process = testing.DevstackProcess(
        root / "state", "--functions-env", str(root / "secrets"), "--no-net"
    )
    try:
        yield process.wait_ready()
    finally:
        process.stop()


@pytest.fixture
async def http(functional: testing.Stack) -> AsyncIterator[aiohttp.ClientSession]:
    """Plain HTTP to the devstack."""
    async with aiohttp.ClientSession(functional.url) as session:
        yield session


@pytest.fixture
async def database(functional: testing.Stack) -> AsyncIterator[rest.Rest]:
    """REST with the service key."""
    async with rest.Rest(url=functional.url, key=functional.service_key) as opened:
        yield opened


@pytest.fixture
async def receiver() -> AsyncIterator[Receiver]:
    """A receiver of webhooks."""
    kept = Receiver()
    app = web.Application()
    app.router.add_post("/hook", kept.take)
    async with TestServer(app) as server:
        kept.url = str(server.make_url("/hook"))
        yield kept


async def notify(http: aiohttp.ClientSession, secret: str, body: Any = NEWS) -> int:
    """Send a Database Webhook; the status of the answer."""
    headers = {"x-webhook-secret": secret}
    async with http.post("/functions/v1/notify-listener", json=body, headers=headers) as answer:
        return answer.status


async def test_a_database_webhook_reaches_each_listener_signed(
    http: aiohttp.ClientSession, database: rest.Rest, receiver: Receiver
) -> None:
    """Each registered listener gets ids, signed with its own secret, and no user data."""
    name = uuid.uuid4().hex
    secret = await database.rpc("register_wake_target", {"p_name": name, "p_url": receiver.url})

    assert await notify(http, SHARED_SECRET) == 202

    headers, body = await receiver.next()
    assert signatures.verify([secret], headers, body, time.time())
    assert json.loads(body)["record"] == {
        key: NEWS["record"][key]  # type: ignore[index]
        for key in ("id", "kind", "status")
    }
    await database.rpc("remove_wake_target", {"p_name": name})


async def test_a_listener_that_fails_is_nobody_elses_business(
    http: aiohttp.ClientSession, database: rest.Rest, receiver: Receiver, unused_tcp_port: int
) -> None:
    """With a dead listener beside it, another is woken all the same."""
    dead = {"p_name": "dead", "p_url": f"http://127.0.0.1:{unused_tcp_port}/"}
    await database.rpc("register_wake_target", dead)
    await database.rpc("register_wake_target", {"p_name": "alive", "p_url": receiver.url})

    assert await notify(http, SHARED_SECRET) == 202

    await receiver.next()
    for name in ("dead", "alive"):
        await database.rpc("remove_wake_target", {"p_name": name})


@pytest.mark.parametrize(
    ("secret", "status"), [("", 401), ("a secret of the dashboarD", 401), (SHARED_SECRET, 202)]
)
async def test_only_who_knows_the_secret_may_notify(
    http: aiohttp.ClientSession, secret: str, status: int
) -> None:
    """Another secret, or none, is refused; the right one, as a control, is taken."""
    assert await notify(http, secret) == status


@pytest.mark.parametrize("body", [[], {"table": "other"}, {"table": "segmentation_results"}])
async def test_what_is_no_news_of_a_task_is_refused(http: aiohttp.ClientSession, body: Any) -> None:
    """A webhook on another table is a mistake in the dashboard, and the answer says so."""
    assert await notify(http, SHARED_SECRET, body) == 400


@dataclass(frozen=True, slots=True, kw_only=True)
class Webhook:
    """A user's webhook at the receiver, with one delivery to send."""

    id: str
    secret: str
    token: str
    database: rest.Rest

    async def test(self) -> str:
        """Have a test delivery written; its id."""
        return str(await self.database.rpc("test_webhook", {"p_id": self.id}, self.token))

    async def delivery(self, delivery: str) -> dict[str, Any]:
        """A delivery's state."""
        row = await self.database.select_one(
            "webhook_deliveries",
            self.token,
            columns="id,status,attempt_count,last_status_code,body",
            id=delivery,
        )
        assert row is not None
        return row


@pytest.fixture
async def webhook(
    functional: testing.Stack, http: aiohttp.ClientSession, receiver: Receiver
) -> AsyncIterator[Webhook]:
    """A new user's webhook."""
    body = {"email": f"{uuid.uuid4().hex}@example.com", "password": uuid.uuid4().hex}
    headers = {"apikey": functional.anon_key}
    async with http.post("/auth/v1/signup", json=body, headers=headers) as answer:
        token = (await answer.json())["access_token"]
    async with rest.Rest(url=functional.url, key=functional.anon_key) as opened:
        made = await opened.rpc(
            "create_webhook",
            {"p_url": receiver.url, "p_events": ["task.done"], "p_description": ""},
            token,
        )
        yield Webhook(id=made["webhook"]["id"], secret=made["secret"], token=token, database=opened)


@pytest.fixture
def deliver(
    http: aiohttp.ClientSession, functional: testing.Stack
) -> Callable[..., Awaitable[tuple[int, dict[str, Any]]]]:
    """Call deliver-webhooks, as the schedule does."""

    async def call(key: str = functional.service_key) -> tuple[int, dict[str, Any]]:
        headers = {"Authorization": f"Bearer {key}"}
        async with http.post("/functions/v1/deliver-webhooks", headers=headers) as answer:
            return answer.status, await answer.json()

    return call


async def test_what_is_due_is_sent_signed_and_settled(
    webhook: Webhook, receiver: Receiver, deliver: Callable[..., Awaitable[Any]]
) -> None:
    """The receiver gets the exact text with a good signature; the delivery is done."""
    delivery = await webhook.test()
    status, answer = await deliver()

    headers, body = await receiver.next()
    row = await webhook.delivery(delivery)
    assert (status, answer["data"]["delivered"]) == (200, 1)
    assert signatures.verify([webhook.secret], headers, body, time.time()) == delivery
    assert body.decode() == row["body"]
    assert (row["status"], row["attempt_count"], row["last_status_code"]) == ("delivered", 1, 204)


@pytest.mark.parametrize(
    ("status", "ends"), [(500, "pending"), (410, "dead"), (302, "pending"), (204, "delivered")]
)
async def test_the_answer_decides(
    webhook: Webhook,
    receiver: Receiver,
    deliver: Callable[..., Awaitable[Any]],
    status: int,
    ends: str,
) -> None:
    """500 is tried again, 410 ends it, a redirect is not followed, 204 delivers."""
    receiver.statuses = [status]
    receiver.headers = {"Location": receiver.url}
    delivery = await webhook.test()
    await deliver()

    row = await webhook.delivery(delivery)
    assert (row["status"], row["last_status_code"]) == (ends, status)
    assert receiver.taken.qsize() == 1


@pytest.mark.parametrize(("headers", "asked"), [({"Retry-After": "60"}, 4), ({}, 5)])
async def test_a_busy_receiver_is_left_in_peace(
    webhook: Webhook,
    receiver: Receiver,
    deliver: Callable[..., Awaitable[Any]],
    functional: testing.Stack,
    headers: dict[str, str],
    asked: int,
) -> None:
    """Of twenty it gets the four that were open; without Retry-After, as a control, one more."""
    receiver.statuses, receiver.headers = [429] * 20, headers
    async with await psycopg.AsyncConnection.connect(functional.db_url) as db:
        await db.execute(
            "insert into webhook_deliveries (endpoint_id, user_id, event, body)"
            " select endpoints.id, endpoints.user_id, 'task.done', '{}'"
            " from webhook_endpoints as endpoints, generate_series(1, 20)"
            " where endpoints.id = %s",
            [webhook.id],
        )
    await deliver()

    assert receiver.taken.qsize() == asked


async def test_only_operators_may_deliver(
    webhook: Webhook,
    receiver: Receiver,
    deliver: Callable[..., Awaitable[Any]],
    functional: testing.Stack,
) -> None:
    """The database decides by the caller's own token; other callers send nothing."""
    await webhook.test()
    answers = [await deliver(key) for key in (functional.anon_key, webhook.token, "nonsense")]

    assert [status for status, _ in answers] == [401, 403, 401]
    assert receiver.taken.empty()
