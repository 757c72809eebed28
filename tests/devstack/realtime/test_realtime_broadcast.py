"""Broadcasts, from clients and from the database, and who may join and speak."""

import json
from collections.abc import Awaitable, Callable
from typing import Any

import aiohttp
import psycopg
import pytest

from devstack import testing


Connect = Callable[..., Awaitable[Any]]
Person = Callable[..., Any]
Allow = Callable[..., Awaitable[None]]
Database = psycopg.AsyncConnection[Any]

SEND = "select realtime.send(%s::jsonb, %s, %s, %s)"
READY = {"replication_ready": True}


def said(event: str, payload: Any) -> dict[str, Any]:
    """What a client sends to broadcast."""
    return {"type": "broadcast", "event": event, "payload": payload}


async def send(db: Database, topic: str, payload: Any, *, private: bool) -> None:
    """Broadcast from the database."""
    await db.execute(SEND, [json.dumps(payload), "moved", topic, private])


async def test_a_broadcast_from_the_database_reaches_its_topic(
    connect: Connect, db: Database, topic: str
) -> None:
    """The envelope is the hosted platform's; `meta.id` is the message's id."""
    wire = await connect()
    await wire.join(topic, broadcast=READY)
    await wire.event("system")

    await send(db, topic, {"x": 1}, private=False)
    heard = await wire.event("broadcast")

    identifier = heard["payload"].pop("id")
    assert heard == {
        "type": "broadcast",
        "event": "moved",
        "payload": {"x": 1},
        "meta": {"id": identifier},
    }


async def test_private_and_public_messages_do_not_mix(
    connect: Connect, person: Person, db: Database, topic: str, allow: Allow
) -> None:
    """Of two channels of one name, each hears only its kind."""
    me = person()
    await allow("select", me)
    public, private = await connect(), await connect()
    await public.join(topic)
    assert (await private.join(topic, me.token, private=True))["status"] == "ok"

    await send(db, topic, {"n": 1}, private=True)
    await send(db, topic, {"n": 2}, private=False)
    await send(db, topic, {"n": 3}, private=True)

    heard = [(await private.event("broadcast"))["payload"]["n"] for _ in range(2)]
    assert heard == [1, 3]
    assert (await public.event("broadcast"))["payload"]["n"] == 2


async def test_a_private_join_needs_a_select_policy(
    connect: Connect, person: Person, topic: str, allow: Allow
) -> None:
    """Without one it is refused with the hosted platform's words; with one it succeeds."""
    wire, me = await connect(), person()

    refused = await wire.join(topic, me.token, private=True)
    await allow("select", me)
    stranger = await wire.join(topic, person().token, private=True)
    accepted = await wire.join(topic, me.token, private=True)

    reason = f"Unauthorized: You do not have permissions to read from this Channel topic: {topic}"
    assert refused == {"status": "error", "response": {"reason": reason}}
    assert stranger["status"] == "error"
    assert accepted["status"] == "ok"


async def test_a_broadcast_reaches_the_others_and_not_its_sender(
    connect: Connect, topic: str
) -> None:
    """Unless the sender asked for `self`; `ack` brings a reply."""
    plain, echoing = await connect(), await connect()
    await plain.join(topic)
    await echoing.join(topic, broadcast={"self": True, "ack": True})

    await plain.send(f"realtime:{topic}", "broadcast", said("ping", {"n": 1}))
    assert (await echoing.event("broadcast"))["payload"] == {"n": 1}
    reply = await echoing.call(f"realtime:{topic}", "broadcast", said("ping", {"n": 2}))

    assert reply["status"] == "ok"
    assert (await plain.event("broadcast"))["payload"] == {"n": 2}


async def test_the_echo_comes_back(connect: Connect, topic: str) -> None:
    """`self` sends a client its own broadcasts: a canary for a supervised connection."""
    wire = await connect()
    await wire.join(topic, broadcast={"self": True})

    await wire.send(f"realtime:{topic}", "broadcast", said("ping", {"n": 1}))

    assert (await wire.event("broadcast"))["payload"] == {"n": 1}


async def test_speaking_on_a_private_channel_needs_an_insert_policy(
    connect: Connect, person: Person, topic: str, allow: Allow
) -> None:
    """One may listen without being allowed to speak."""
    me, wire, other = person(), await connect(), await connect()
    await allow("select", me)
    for one in (wire, other):
        await one.join(topic, me.token, private=True, broadcast={"ack": True})

    refused = await wire.call(f"realtime:{topic}", "broadcast", said("ping", {"n": 1}))
    await allow("insert", me)
    await wire.join(topic, me.token, private=True, broadcast={"ack": True})
    accepted = await wire.call(f"realtime:{topic}", "broadcast", said("ping", {"n": 2}))

    assert (refused["status"], accepted["status"]) == ("error", "ok")
    assert (await other.event("broadcast"))["payload"] == {"n": 2}


async def test_a_new_token_is_asked_about_again(
    connect: Connect, person: Person, topic: str, allow: Allow
) -> None:
    """A token of somebody who may not listen ends the channel; one of the same person does not."""
    wire, me = await connect(), person()
    await allow("select", me)
    await allow("insert", me)
    await wire.join(topic, me.token, private=True, broadcast={"ack": True})
    name = f"realtime:{topic}"

    await wire.send(name, "access_token", {"access_token": person(900, me.id).token})
    assert (await wire.call(name, "broadcast", said("still here", {})))["status"] == "ok"
    await wire.send(name, "access_token", {"access_token": person().token})
    status = await wire.event("system")
    closed = await wire.event("phx_close")

    assert (status["extension"], status["status"], closed) == ("system", "error", {})


async def test_binary_frames_of_version_2_are_understood(connect: Connect, topic: str) -> None:
    """A JSON payload reaches both versions; raw bytes reach version 2."""
    v1, v2, sender = await connect(), await connect(v2=True), await connect(v2=True)
    for wire in (v1, v2, sender):
        await wire.join(topic)

    await sender.socket.send_bytes(push_frame(topic, "ping", 1, '{"n":"é"}'.encode()))
    await sender.socket.send_bytes(push_frame(topic, "ping", 0, b"\x00\xff"))
    raw = (await v2.until(lambda frame: frame["event"] == "binary"))["payload"]

    assert (await v1.event("broadcast"))["payload"] == {"n": "é"}
    assert raw[0] == 4
    assert raw.endswith(b"ping\x00\xff")


def push_frame(topic: str, event: str, encoding: int, payload: bytes) -> bytes:
    """A broadcast as supabase-js sends it."""
    parts = [b"1", b"9", f"realtime:{topic}".encode(), event.encode(), b""]
    return bytes([3, *map(len, parts), encoding]) + b"".join(parts) + payload


async def test_broadcasts_come_by_http(connect: Connect, stack: testing.Stack, topic: str) -> None:
    """Both endpoints: the batch of older clients and the one of `httpSend`."""
    wire = await connect()
    await wire.join(topic)
    base = f"{stack.url}/realtime/v1/api/broadcast"
    headers = {"apikey": stack.anon_key}

    async with aiohttp.ClientSession(headers=headers) as http:
        batch = {"messages": [{"topic": topic, "event": "a", "payload": {"n": 1}}]}
        assert (await http.post(base, json=batch)).status == 202
        assert (await http.post(f"{base}/{topic}/events/b", json={"n": 2})).status == 202
    heard = [await wire.event("broadcast") for _ in range(2)]

    assert [(one["event"], one["payload"]["n"]) for one in heard] == [("a", 1), ("b", 2)]


@pytest.mark.parametrize("private", ["true", "false"])
async def test_http_cannot_speak_on_a_private_topic_without_a_policy(
    stack: testing.Stack, topic: str, private: str
) -> None:
    """The anon key alone may speak in public only."""
    url = f"{stack.url}/realtime/v1/api/broadcast/{topic}/events/b?private={private}"
    async with aiohttp.ClientSession(headers={"apikey": stack.anon_key}) as http:
        status = (await http.post(url, json={})).status

    assert status == (403 if private == "true" else 202)


async def test_presence_shows_who_came_and_who_left(connect: Connect, topic: str) -> None:
    """State at the join, then differences; leaving a channel ends what was tracked."""
    early, late = await connect(), await connect()
    await early.join(topic, presence={"key": "ann", "enabled": True})
    assert await early.event("presence_state") == {}
    tracked = {"type": "presence", "event": "track", "payload": {"mood": "fine"}}
    await early.send(f"realtime:{topic}", "presence", tracked)
    assert (await early.event("presence_diff"))["joins"]["ann"]["metas"][0]["mood"] == "fine"

    await late.join(topic, presence={"key": "bob", "enabled": True})
    state = await late.event("presence_state")
    await early.call(f"realtime:{topic}", "phx_leave", {})
    diff = await late.event("presence_diff")

    assert [meta["mood"] for meta in state["ann"]["metas"]] == ["fine"]
    assert (set(diff["joins"]), set(diff["leaves"])) == (set(), {"ann"})
