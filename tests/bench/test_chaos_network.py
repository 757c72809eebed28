"""The chaos bench's network does to settlements what it says, and writes down what it heard."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import aiohttp
import pytest
from aiohttp import web

from bench.chaos import network


class Gateway:
    """A gateway that answers `ok` once per token, and `duplicate` afterwards."""

    def __init__(self) -> None:
        self.calls: list[int] = []
        self.sockets: list[web.WebSocketResponse] = []

    async def complete(self, request: web.Request) -> web.Response:
        """A settlement."""
        token = (await request.json())["p_token"]
        self.calls.append(token)
        return web.json_response("ok" if self.calls.count(token) == 1 else "duplicate")

    async def socket(self, request: web.Request) -> web.WebSocketResponse:
        """Realtime: says one hint, and waits."""
        socket = web.WebSocketResponse()
        await socket.prepare(request)
        await socket.send_str('{"event": "task_pending"}')
        async for _ in socket:
            pass
        return socket


@pytest.fixture
async def gateway() -> Gateway:
    """Where everything arrives."""
    return Gateway()


@pytest.fixture
async def between(gateway: Gateway, aiohttp_server: Any) -> AsyncIterator[network.Network]:
    """A network in front of the gateway."""
    app = web.Application()
    app.router.add_post("/rest/v1/rpc/complete_task", gateway.complete)
    app.router.add_get("/realtime/v1/websocket", gateway.socket)
    server = await aiohttp_server(app)
    made = network.Network(str(server.make_url("")).rstrip("/"), lease_seconds=0.05)
    await made.start()
    yield made
    await made.stop()


async def complete(between: network.Network, token: int) -> str:
    """Settle as a listener does."""
    async with (
        aiohttp.ClientSession(between.url) as http,
        http.post("/rest/v1/rpc/complete_task", json={"p_token": token}) as answer,
    ):
        return str(await answer.json())


@pytest.mark.parametrize(
    ("fate", "arrivals", "answer"),
    [
        (network.Fate.PASSED, 1, "ok"),
        (network.Fate.DOUBLED, 2, "duplicate"),
        (network.Fate.LATE, 1, "ok"),
        (network.Fate.ECHOED, 2, "ok"),
    ],
)
async def test_a_fate_is_what_it_says(
    between: network.Network,
    gateway: Gateway,
    monkeypatch: pytest.MonkeyPatch,
    fate: network.Fate,
    arrivals: int,
    answer: str,
) -> None:
    """The gateway sees the write as often as told, and its acceptance is written down once."""
    monkeypatch.setattr(network, "ODDS", {fate: 1})

    assert await complete(between, 7) == answer
    await between.quiet()

    assert gateway.calls == [7] * arrivals
    assert between.seen.accepted["complete_task"] == [7]


async def test_a_lost_answer_is_lost_after_the_write(
    between: network.Network, gateway: Gateway, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The database has committed; the listener hears nothing."""
    monkeypatch.setattr(network, "ODDS", {network.Fate.ANSWER_LOST: 1})

    with pytest.raises(aiohttp.ClientError):
        await complete(between, 7)

    assert gateway.calls == [7]
    assert between.seen.accepted["complete_task"] == [7]


async def test_a_cut_ends_every_realtime_connection(between: network.Network) -> None:
    """Without a closing handshake, as a cable that is pulled."""
    async with (
        aiohttp.ClientSession() as http,
        http.ws_connect(f"{between.url}/realtime/v1/websocket") as socket,
    ):
        assert "task_pending" in (await socket.receive()).data

        between.cut()

        async with asyncio.timeout(2):
            while (await socket.receive()).type is aiohttp.WSMsgType.TEXT:
                pass
