"""
A bad network between the listeners and the gateway.

It repeats some settlements, holds some back until their lease is long over, loses some answers
after the database has committed, doubles hints, and can be told to cut every Realtime connection.
What the database answered is written down, whether or not the answer was let through.
"""

import asyncio
import contextlib
import json
import random
from collections import Counter, defaultdict
from collections.abc import Coroutine
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, Final

import aiohttp
from aiohttp import web


SETTLEMENTS: Final = frozenset({"complete_task", "fail_task", "release_task"})
PASSED_ON: Final = ("apikey", "Authorization", "Content-Type", "Accept", "Prefer", "X-Client-Info")
DOUBLED_HINTS: Final = 0.25
LOST_CLAIMS: Final = 0.01


class Fate(StrEnum):
    """What becomes of one settlement on its way."""

    PASSED = "passed"
    DOUBLED = "doubled"
    LATE = "late"
    ECHOED = "echoed"
    """Passed on, and again some seconds later."""
    ANSWER_LOST = "answer lost"


ODDS: Final = {
    Fate.PASSED: 69,
    Fate.DOUBLED: 10,
    Fate.LATE: 8,
    Fate.ECHOED: 6,
    Fate.ANSWER_LOST: 7,
}


@dataclass(slots=True)
class Seen:
    """What the network has done and heard."""

    fates: Counter[Fate] = field(default_factory=Counter)
    answers: Counter[tuple[str, str]] = field(default_factory=Counter)
    """(function, the database's answer or the status) -> how often."""
    accepted: defaultdict[str, list[int]] = field(default_factory=lambda: defaultdict(list))
    """Function -> tokens whose settlement was answered `ok`, one entry per `ok`."""
    workers: set[str] = field(default_factory=set)
    """Names that have asked for work."""
    doubled_hints: int = 0
    lost_claims: int = 0
    cuts: int = 0


class Network:
    """An HTTP server on a port of its own, in front of the gateway at *url*."""

    def __init__(self, url: str, *, lease_seconds: float) -> None:
        self.seen = Seen()
        self.port = 0
        self.calm = False
        """True: no more faults."""
        self.gateway_url = url
        self._lease_seconds = lease_seconds
        self._sockets: set[asyncio.BaseTransport] = set()
        self._later: set[asyncio.Task[None]] = set()
        self.http: aiohttp.ClientSession
        self._runner: web.AppRunner

    @property
    def url(self) -> str:
        """What the listeners are told."""
        return f"http://127.0.0.1:{self.port}"

    async def start(self) -> None:
        """Listen."""
        self.http = aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0))
        app = web.Application(client_max_size=2**25)
        app.router.add_route("*", "/{tail:.*}", self._pass)
        self._runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.5)
        await self._runner.setup()
        await web.TCPSite(self._runner, "127.0.0.1", 0).start()
        self.port = self._runner.addresses[0][1]

    async def quiet(self) -> None:
        """No more faults; wait until the last echo has arrived."""
        self.calm = True
        while self._later:
            await asyncio.wait(self._later)

    async def stop(self) -> None:
        """Close everything."""
        for task in self._later:
            task.cancel()
        self.cut()
        await self._runner.cleanup()
        await self.http.close()

    def cut(self) -> None:
        """Drop every Realtime connection without a word."""
        self.seen.cuts += 1
        for transport in list(self._sockets):
            transport.close()

    async def _pass(self, request: web.Request) -> web.StreamResponse:
        if request.headers.get("Upgrade", "").lower() == "websocket":
            return await self._socket(request)
        call = _Call(self, request, await request.read())
        function = request.path.rpartition("/rpc/")[2]
        if function == "claim_tasks":
            return await self._claim(call, request)
        if function in SETTLEMENTS and not self.calm:
            fate = random.choices(list(ODDS), list(ODDS.values()))[0]
            self.seen.fates[fate] += 1
            return await self._settle(call, request, fate)
        return await call.forward()

    async def _claim(self, call: "_Call", request: web.Request) -> web.StreamResponse:
        self.seen.workers.add(call.said("p_worker"))
        answer = await call.forward()
        if not self.calm and answer.body != b"[]" and random.random() < LOST_CLAIMS:
            self.seen.lost_claims += 1
            _hang_up(request)
        return answer

    async def _settle(self, call: "_Call", request: web.Request, fate: Fate) -> web.StreamResponse:
        if fate is Fate.LATE:
            await asyncio.sleep(self._lease_seconds * random.uniform(1.2, 2.5))
        answer = await call.forward()
        if fate is Fate.DOUBLED:
            return await call.forward()
        if fate is Fate.ECHOED:
            self._do_later(call.echo(self._lease_seconds * random.uniform(0.5, 3.0)))
        if fate is Fate.ANSWER_LOST:
            _hang_up(request)
        return answer

    def _do_later(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.create_task(work)
        self._later.add(task)
        task.add_done_callback(self._later.discard)

    async def _socket(self, request: web.Request) -> web.StreamResponse:
        inner = web.WebSocketResponse(max_msg_size=0)
        await inner.prepare(request)
        assert request.transport is not None
        self._sockets.add(request.transport)
        try:
            async with self.http.ws_connect(
                self.gateway_url + request.path_qs, headers=_kept(request), max_msg_size=0
            ) as outer:
                ends = {
                    asyncio.create_task(_pump(inner, outer)),
                    asyncio.create_task(self._pump_hints(outer, inner)),
                }
                await asyncio.wait(ends, return_when=asyncio.FIRST_COMPLETED)
                for end in ends:
                    end.cancel()
                await asyncio.gather(*ends, return_exceptions=True)
        except aiohttp.ClientError:
            _hang_up(request)
        finally:
            self._sockets -= {transport for transport in self._sockets if transport.is_closing()}
        return inner

    async def _pump_hints(
        self, outer: aiohttp.ClientWebSocketResponse, inner: web.WebSocketResponse
    ) -> None:
        async for message in outer:
            twice = "task_pending" in str(message.data) and random.random() < DOUBLED_HINTS
            self.seen.doubled_hints += twice
            for _ in range(1 + twice):
                await inner.send_str(message.data)


class _Call:
    """One request, which can be sent more than once."""

    def __init__(self, network: Network, request: web.Request, body: bytes) -> None:
        self._network = network
        self._method, self._path = request.method, request.path_qs
        self._headers = _kept(request)
        self._body = body
        self._function = request.path.rpartition("/rpc/")[2]

    def said(self, name: str) -> str:
        """An argument of the call."""
        return str(json.loads(self._body).get(name))

    async def forward(self) -> web.Response:
        """Send it to the gateway, and note what the database said."""
        network = self._network
        try:
            async with network.http.request(
                self._method,
                network.gateway_url + self._path,
                data=self._body,
                headers=self._headers,
            ) as answer:
                body = await answer.read()
        except aiohttp.ClientError:
            return web.Response(status=502)
        if self._function in SETTLEMENTS:
            self._note(answer.status, body)
        return web.Response(
            body=body, status=answer.status, content_type=answer.content_type, charset="utf-8"
        )

    async def echo(self, seconds: float) -> None:
        """Send it again after a while, to nobody's knowledge."""
        await asyncio.sleep(seconds)
        await self.forward()

    def _note(self, status: int, body: bytes) -> None:
        seen = self._network.seen
        answer = json.loads(body) if status == 200 else str(status)
        seen.answers[self._function, answer] += 1
        if answer == "ok":
            seen.accepted[self._function].append(int(self.said("p_token")))


async def _pump(inner: web.WebSocketResponse, outer: aiohttp.ClientWebSocketResponse) -> None:
    async for message in inner:
        if message.type is aiohttp.WSMsgType.TEXT:
            await outer.send_str(message.data)


def _kept(request: web.Request) -> dict[str, str]:
    return {name: request.headers[name] for name in PASSED_ON if name in request.headers}


def _hang_up(request: web.Request) -> None:
    with contextlib.suppress(AttributeError):
        request.transport.abort()  # type: ignore[union-attr]  # gone already: as well
