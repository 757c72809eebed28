"""Connections, channels and the feed: how they begin, end and come back."""

import asyncio
import os
import signal
from collections.abc import Awaitable, Callable
from typing import Any

import aiohttp
import psycopg
import pytest

from devstack import testing
from devstack.realtime import outbox, pgoutput, visibility


Connect = Callable[..., Awaitable[Any]]
Person = Callable[..., Any]
Run = Callable[..., Awaitable[None]]
Database = psycopg.AsyncConnection[Any]


@pytest.mark.parametrize("v2", [False, True])
async def test_a_heartbeat_is_answered_with_its_ref(connect: Connect, v2: bool) -> None:  # noqa: FBT001
    """JavaScript drops the socket without it."""
    wire = await connect(v2=v2)

    assert await wire.call("phoenix", "heartbeat", {}) == {"status": "ok", "response": {}}


async def test_a_heartbeat_without_a_ref_is_answered_too(connect: Connect) -> None:
    """The Python client sends none."""
    wire = await connect()
    await wire.socket.send_json(
        {"topic": "phoenix", "event": "heartbeat", "payload": {}, "ref": None, "join_ref": None}
    )

    assert await wire.event("phx_reply") == {"status": "ok", "response": {}}


async def test_a_join_echoes_its_bindings_with_ids(
    connect: Connect, person: Person, table: str
) -> None:
    """Clients compare them field by field; an id is never 0, and equal bindings share one."""
    wire = await connect()
    one = {"event": "INSERT", "schema": "public", "table": table, "filter": "id=eq.1"}
    two = {"event": "*", "schema": "public", "table": table}
    reply = await wire.join(table, person().token, postgres_changes=[one, two, one])

    entries = reply["response"]["postgres_changes"]
    ids = [entry.pop("id") for entry in entries]
    assert entries == [one, two, one]
    assert all(ids)
    assert ids[0] == ids[2] != ids[1]
    assert await wire.event("presence_state") == {}


async def test_leaving_closes_the_channel(connect: Connect, topic: str) -> None:
    """A reply, then `phx_close`; what is said there afterwards is refused."""
    wire = await connect()
    await wire.join(topic)

    assert (await wire.call(f"realtime:{topic}", "phx_leave", {}))["status"] == "ok"
    assert await wire.event("phx_close") == {}
    reply = await wire.call(f"realtime:{topic}", "broadcast", {})
    assert reply == {"status": "error", "response": {"reason": "unmatched topic"}}


async def test_a_channel_ends_with_its_token(connect: Connect, person: Person, topic: str) -> None:
    """As hosted: a system error, then `phx_close`."""
    wire = await connect()
    await wire.join(topic, person(seconds=2).token)

    status = await wire.event("system")

    assert (status["extension"], status["status"]) == ("system", "error")
    assert "expired" in status["message"]
    assert await wire.event("phx_close") == {}


async def test_a_renewed_token_keeps_the_channel(
    connect: Connect, person: Person, topic: str
) -> None:
    """It then ends with the new token instead of the old one."""
    wire, me = await connect(), person(seconds=2)
    await wire.join(topic, me.token, broadcast={"ack": True})
    await wire.send(f"realtime:{topic}", "access_token", {"access_token": person(4, me.id).token})
    started = asyncio.get_running_loop().time()

    await wire.event("phx_close")

    assert asyncio.get_running_loop().time() - started > 2.5


@pytest.mark.parametrize("token", ["nonsense", "expired"])
async def test_a_bad_token_is_refused_at_the_join_and_ends_a_channel(
    connect: Connect, person: Person, topic: str, token: str
) -> None:
    """Whether malformed or too old."""
    bad = person(seconds=-10).token if token == "expired" else token
    wire = await connect()

    refused = await wire.join(topic, bad)
    await wire.join(topic, person().token)
    await wire.send(f"realtime:{topic}", "access_token", {"access_token": bad})

    assert refused["status"] == "error"
    assert (await wire.event("system"))["status"] == "error"
    assert await wire.event("phx_close") == {}


async def test_a_join_that_asks_for_replay_is_refused(connect: Connect, topic: str) -> None:
    """Old broadcasts do not come, so the client must not believe that they will."""
    wire = await connect()

    reply = await wire.join(topic, broadcast={"replay": {"since": 0}})

    assert (reply["status"], "replay" in reply["response"]["reason"]) == ("error", True)


@pytest.mark.parametrize(("event", "payload"), [("shout", {}), ("presence", {"event": "dance"})])
async def test_what_is_not_supported_is_said_to_be(
    connect: Connect, topic: str, event: str, payload: dict[str, Any]
) -> None:
    """An answer with a reason, never silence."""
    wire = await connect()
    await wire.join(topic)

    reply = await wire.call(f"realtime:{topic}", event, payload)

    assert reply["status"] == "error"
    assert reply["response"]["reason"]


async def test_a_frame_that_is_not_phoenix_ends_the_connection(
    connect: Connect, eventually: Callable[..., Awaitable[None]]
) -> None:
    """With a close code and a reason."""
    wire = await connect()
    await wire.socket.send_str("hello")

    await eventually(lambda: wire.socket.closed)
    assert wire.socket.close_code == aiohttp.WSCloseCode.UNSUPPORTED_DATA


@pytest.mark.parametrize(
    "config",
    [
        {"postgres_changes": 7},
        {"postgres_changes": [None, 7]},
        {"broadcast": [], "presence": "me", "private": "yes"},
        {"postgres_changes_options": {"wait": True, "timeout": "soon"}},
        {"postgres_changes": [{"table": 7, "filter": 7, "event": []}]},
    ],
)
async def test_a_malformed_configuration_does_no_harm(
    connect: Connect, topic: str, config: dict[str, Any]
) -> None:
    """What cannot be read takes its default, or is refused; the connection stays."""
    wire = await connect(v2=True)  # the strict reader of version 1 refuses such an echo

    await wire.join(topic, **config)

    assert (await wire.call("phoenix", "heartbeat", {}))["status"] == "ok"


@pytest.mark.parametrize(
    ("params", "status"), [({"apikey": "wrong"}, 401), ({}, 401), ({"vsn": "9"}, 400)]
)
async def test_a_connection_needs_a_key_and_a_known_version(
    stack: testing.Stack, params: dict[str, str], status: int
) -> None:
    """A wrong key or version is answered before the upgrade."""
    query = {"apikey": stack.anon_key, **params} if "vsn" in params else params
    async with aiohttp.ClientSession() as http:
        with pytest.raises(aiohttp.WSServerHandshakeError) as caught:
            await http.ws_connect(f"{stack.url}/realtime/v1/websocket", params=query)

    assert caught.value.status == status


async def test_the_feed_comes_back_after_the_database_dropped_it(
    connect: Connect, person: Person, table: str, run: Run
) -> None:
    """Subscribers are told that they are served again, and hear what happens from then on."""
    wire, me = await connect(), person()
    await wire.subscribe(table, me.token)

    await run(
        "select pg_terminate_backend(active_pid) from pg_replication_slots"
        " where slot_name like 'devstack_realtime%%' and active_pid = any"
        "(select pid from pg_stat_activity where datname = current_database() and 1 = %s)",
        1,
    )
    assert (await wire.event("system"))["message"] == "Subscribed to PostgreSQL"
    await run("insert into {t} values (1, %s, 'after', 0)", me.id)

    assert (await wire.change())["record"]["name"] == "after"


async def test_the_feed_survives_a_crash_of_the_database(
    connect: Connect, new_devstack: Callable[..., testing.DevstackProcess]
) -> None:
    """PostgreSQL restarts with every connection lost; channels stay, and messages come again."""
    own = new_devstack().wait_ready()
    wire = await connect(to=own)
    await wire.join("room", broadcast={"replication_ready": True})
    await wire.event("system")

    async with await psycopg.AsyncConnection.connect(own.db_url) as victim:
        os.kill(victim.info.backend_pid, signal.SIGKILL)
    assert (await wire.event("system"))["message"] == "Replication connection established"
    refused = await wire.join("closed", private=True)
    async with await psycopg.AsyncConnection.connect(own.db_url, autocommit=True) as db:
        await db.execute("select realtime.send('{\"n\": 1}', 'ping', 'room', false)")

    assert (await wire.event("broadcast"))["payload"]["n"] == 1
    assert refused["response"]["reason"].startswith("Unauthorized")  # policies were asked again


async def test_a_client_that_does_not_read_is_cut() -> None:
    """Its frames are bounded and nobody waits for it."""
    cut = asyncio.Event()

    async def never(_frame: outbox.Frame) -> None:
        await asyncio.Event().wait()

    slow = outbox.Outbox(never, cut.set)
    sending = asyncio.create_task(slow.run())
    for _ in range(outbox.MAX_FRAMES):
        slow.put("x")
    assert not cut.is_set()
    slow.put("x")
    slow.put("x")

    assert cut.is_set()
    sending.cancel()


async def test_a_commit_is_waited_for_until_others_see_it(
    stack: testing.Stack, db: Database
) -> None:
    """The stream may be ahead of what queries see; a check must not be."""
    async with await psycopg.AsyncConnection.connect(stack.db_url) as writer:
        cursor = await writer.execute("select pg_current_xact_id()::text::bigint")
        ((xid,),) = await cursor.fetchall()
        transaction = pgoutput.Transaction(xid=xid, committed_at=pgoutput.EPOCH, changes=())
        waiting = asyncio.create_task(visibility.commit(db, transaction))
        await asyncio.wait([waiting], timeout=0.05)
        assert not waiting.done()
        await writer.commit()

        async with asyncio.timeout(5):
            await waiting
