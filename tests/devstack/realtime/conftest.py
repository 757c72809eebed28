"""For the tests of Realtime: a client that is strict about frames, and tables to watch."""

import asyncio
import contextlib
import dataclasses
import json
import time
import uuid
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import aiohttp
import jwt
import psycopg
import pytest
from realtime import message as official

from devstack import testing


Frame = dict[str, Any]

PATIENCE_SECONDS = 20.0


class Wire:
    """
    Speaks Phoenix by hand; every frame of version 1 must satisfy the official Python client.

    That client drops what does not fit its models, so a frame it would drop fails the test.
    """

    def __init__(self, socket: aiohttp.ClientWebSocketResponse, *, v2: bool) -> None:
        self.socket = socket
        self.seen: list[Frame] = []
        self._v2 = v2
        self._arrived = asyncio.Condition()
        self._refs = 0

    async def listen(self) -> None:
        """Collect frames until the connection ends."""
        async for raw in self.socket:
            frame = self._read(raw)
            async with self._arrived:
                self.seen.append(frame)
                self._arrived.notify_all()

    def _read(self, raw: aiohttp.WSMessage) -> Frame:
        if raw.type is aiohttp.WSMsgType.BINARY:
            return {"event": "binary", "topic": "", "ref": None, "payload": raw.data}
        if not self._v2:
            official.ServerMessageAdapter.validate_json(raw.data)
            return json.loads(raw.data)
        names = ("join_ref", "ref", "topic", "event", "payload")
        return dict(zip(names, json.loads(raw.data), strict=True))

    async def send(self, topic: str, event: str, payload: Any, join_ref: str = "1") -> str:
        """Send one frame; its ref."""
        self._refs += 1
        ref = str(self._refs)
        if self._v2:
            await self.socket.send_json([join_ref, ref, topic, event, payload])
        else:
            frame = {"topic": topic, "event": event, "payload": payload}
            await self.socket.send_json({**frame, "ref": ref, "join_ref": join_ref})
        return ref

    async def call(self, topic: str, event: str, payload: Any) -> Frame:
        """Send one frame; the payload of its reply."""
        ref = await self.send(topic, event, payload)
        return (await self.until(lambda frame: is_reply(frame, ref)))["payload"]

    async def join(self, name: str, token: str | None = None, **config: Any) -> Frame:
        """Join a channel by its name; the payload of the reply."""
        payload = {"config": config, **({"access_token": token} if token else {})}
        return await self.call(f"realtime:{name}", "phx_join", payload)

    async def subscribe(
        self, table: str, token: str | None = None, *bindings: dict[str, Any]
    ) -> list[int]:
        """Follow *table* on a channel of its name, and wait until it is live; the ids."""
        changes = [
            {"event": "*", "schema": "public", "table": table, **binding}
            for binding in bindings or [{}]
        ]
        reply = await self.join(table, token, postgres_changes=changes)
        status = await self.event("system")
        assert status["status"] == "ok", status
        return [entry["id"] for entry in reply["response"]["postgres_changes"]]

    async def until(self, wanted: Callable[[Frame], bool]) -> Frame:
        """The first frame that is *wanted*; it and all before it are then forgotten."""
        async with asyncio.timeout(PATIENCE_SECONDS), self._arrived:
            while True:
                for at, frame in enumerate(self.seen):
                    if wanted(frame):
                        del self.seen[: at + 1]
                        return frame
                await self._arrived.wait()

    async def event(self, event: str) -> Any:
        """The payload of the next frame with this event."""
        return (await self.until(lambda frame: frame["event"] == event))["payload"]

    async def change(self) -> Frame:
        """The `data` of the next change."""
        return (await self.event("postgres_changes"))["data"]


def is_reply(frame: Frame, ref: str) -> bool:
    """Whether *frame* answers the frame sent with *ref*."""
    return bool(frame["event"] == "phx_reply" and frame["ref"] == ref)


@contextlib.asynccontextmanager
async def listening(wire: Wire) -> AsyncIterator[None]:
    """Let *wire* collect frames; a frame that the official client would drop fails the test."""
    task = asyncio.create_task(wire.listen())
    try:
        yield
    finally:
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task


Connect = Callable[..., Awaitable[Wire]]


@pytest.fixture
async def connect(stack: testing.Stack) -> AsyncIterator[Connect]:
    """Opens raw connections: `connect(v2=False, to=stack)`."""
    async with contextlib.AsyncExitStack() as ends, aiohttp.ClientSession() as http:

        async def open_wire(*, v2: bool = False, to: testing.Stack = stack) -> Wire:
            url = f"{to.url}/realtime/v1/websocket"
            params = {"apikey": to.anon_key, "vsn": "2.0.0" if v2 else "1.0.0"}
            socket = await ends.enter_async_context(http.ws_connect(url, params=params))
            wire = Wire(socket, v2=v2)
            await ends.enter_async_context(listening(wire))
            return wire

        yield open_wire


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Person:
    """Somebody with a token of their own making, signed with the stack's secret."""

    id: str
    token: str


@pytest.fixture
def person(stack: testing.Stack) -> Callable[..., Person]:
    """Makes people: `person(seconds=600, id=…)`; tests of Realtime need no account."""

    def make(seconds: float = 600, id: str | None = None) -> Person:  # noqa: A002 - as the claim
        subject = id or str(uuid.uuid4())
        claims = {"sub": subject, "role": "authenticated", "exp": int(time.time() + seconds)}
        token = jwt.encode(claims, stack.jwt_secret, algorithm="HS256")
        return Person(id=subject, token=token)

    return make


@pytest.fixture
async def table(db: psycopg.AsyncConnection[Any]) -> AsyncIterator[str]:
    """A published table `(id, owner, name, size)` whose rows only their owner may select."""
    name = f"rt_{uuid.uuid4().hex[:8]}"
    script = f"""
        create table public.{name} (id int primary key, owner uuid, name text, size numeric);
        alter table public.{name} enable row level security;
        revoke all on public.{name} from anon, authenticated;
        grant select on public.{name} to authenticated;
        create policy own on public.{name} for select to authenticated using (owner = auth.uid());
        alter publication supabase_realtime add table public.{name};
    """
    await db.execute(script.encode())
    yield name
    await db.execute(f"drop table public.{name}".encode())


@pytest.fixture
def run(db: psycopg.AsyncConnection[Any], table: str) -> Callable[..., Awaitable[None]]:
    """Runs SQL in which `{t}` is the table: `run("insert into {t} values (%s)", 1)`."""

    async def execute(sql: str, *parameters: Any) -> None:
        await db.execute(sql.replace("{t}", f"public.{table}").encode(), parameters or None)

    return execute


@pytest.fixture
async def topic(db: psycopg.AsyncConnection[Any]) -> AsyncIterator[str]:
    """A topic of its own that nobody has a policy for."""
    name = f"room-{uuid.uuid4().hex[:8]}"
    yield name
    for command in ("select", "insert"):
        drop = f'drop policy if exists "{name}-{command}" on realtime.messages'
        await db.execute(drop.encode())


@pytest.fixture
def allow(db: psycopg.AsyncConnection[Any], topic: str) -> Callable[..., Awaitable[None]]:
    """Lets one person select or insert on the topic: `allow("select", person)`."""

    async def grant(command: str, who: Person) -> None:
        clause = "using" if command == "select" else "with check"
        policy = f"""
            create policy "{topic}-{command}" on realtime.messages
            for {command} to authenticated
            {clause} (realtime.topic() = '{topic}' and auth.uid() = '{who.id}')
        """
        await db.execute(policy.encode())

    return grant
