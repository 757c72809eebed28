"""The official Python client against the devstack, as an app uses it."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import psycopg
import pytest
from realtime import RealtimePostgresChangesListenEvent as Event
from realtime import RealtimeSubscribeStates as States

import supabase
from devstack import testing


NewUser = Callable[..., Awaitable[testing.SignedUpUser]]
NewClient = Callable[[testing.SignedUpUser], Awaitable[supabase.AsyncClient]]
Database = psycopg.AsyncConnection[Any]
Run = Callable[..., Awaitable[None]]

PATIENCE_SECONDS = 5.0


@pytest.fixture
async def new_client(stack: testing.Stack) -> AsyncIterator[NewClient]:
    """A signed-in client of the given user."""
    clients = []

    async def make(user: testing.SignedUpUser) -> supabase.AsyncClient:
        client = await supabase.acreate_client(stack.url, stack.anon_key)
        clients.append(client)
        await client.auth.sign_in_with_password({"email": user.email, "password": user.password})
        session = await client.auth.get_session()
        assert session is not None
        await client.realtime.set_auth(session.access_token)
        return client

    yield make
    for client in clients:
        await client.remove_all_channels()
        await client.realtime.close()


class Ear:
    """Collects what callbacks are given."""

    def __init__(self) -> None:
        self._heard: asyncio.Queue[Any] = asyncio.Queue()

    def __call__(self, *arguments: Any) -> None:
        """A callback."""
        self._heard.put_nowait(arguments[0] if len(arguments) == 1 else arguments)

    async def next(self) -> Any:
        """What was heard next."""
        async with asyncio.timeout(PATIENCE_SECONDS):
            return await self._heard.get()


async def test_an_app_follows_its_rows(
    new_user: NewUser, new_client: NewClient, table: str, run: Run
) -> None:
    """Of two users each hears of the own rows only: INSERT, then UPDATE with a filter."""
    users = [await new_user(), await new_user()]
    ears = [Ear(), Ear()]
    for user, ear in zip(users, ears, strict=True):
        client, live = await new_client(user), Ear()
        channel = client.channel(f"rows-{user.id}").on_system(live)
        channel.on_postgres_changes(Event.Insert, ear, table=table)
        channel.on_postgres_changes(Event.Update, ear, table=table, filter=f"owner=eq.{user.id}")
        await channel.subscribe()
        assert (await live.next()).status == "ok"

    for number, user in enumerate(users):
        await run("insert into {t} values (%s, %s, 'cat', 1)", number, user.id)
    inserted = [(await ear.next())["data"]["record"] for ear in ears]
    await run("update {t} set size = 2")
    updated = [(await ear.next())["data"]["record"] for ear in ears]

    assert [row["owner"] for row in inserted] == [user.id for user in users]
    assert [(row["owner"], row["size"]) for row in updated] == [(user.id, 2) for user in users]


async def test_a_worker_hears_a_private_broadcast_of_the_database(
    new_user: NewUser, new_client: NewClient, db: Database, topic: str, allow: Run
) -> None:
    """The policy lets one user in and refuses the other; the payload comes with its id."""
    friend, stranger = await new_user(), await new_user()
    await allow("select", friend)
    heard, states = Ear(), Ear()
    private: Any = {"config": {"private": True, "broadcast": {"replication_ready": True}}}

    outside = (await new_client(stranger)).channel(topic, private)
    await outside.subscribe(states)
    inside = (await new_client(friend)).channel(topic, private)
    await inside.on_broadcast("moved", heard).subscribe(states)
    await db.execute("select realtime.send('{\"n\": 1}', 'moved', %s, true)", [topic])

    refused, joined = await states.next(), await states.next()
    assert refused[0] is States.CHANNEL_ERROR
    assert "Unauthorized" in str(refused[1])
    assert joined[0] is States.SUBSCRIBED
    assert (await heard.next())["payload"]["n"] == 1


async def test_clients_broadcast_to_each_other(
    new_user: NewUser, new_client: NewClient, topic: str
) -> None:
    """By WebSocket and by HTTP."""
    user = await new_user()
    heard = Ear()
    await (await new_client(user)).channel(topic).on_broadcast("*", heard).subscribe()
    sender = (await new_client(user)).channel(topic)
    await sender.subscribe()

    await sender.send_broadcast("ping", {"by": "socket"})
    assert (await heard.next())["payload"] == {"by": "socket"}
    await sender.http_send("ping", {"by": "http"})
    assert (await heard.next())["payload"] == {"by": "http"}


async def test_presence_is_shared(new_user: NewUser, new_client: NewClient, topic: str) -> None:
    """What one tracks the other sees."""
    user = await new_user()
    joins = Ear()
    watcher = (await new_client(user)).channel(topic)
    await watcher.on_presence_join(joins).subscribe()
    tracker = (await new_client(user)).channel(topic)
    await tracker.subscribe()

    await tracker.track({"mood": "fine"})
    _, _, new = await joins.next()

    assert new[0]["mood"] == "fine"
