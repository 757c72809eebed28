"""Negative controls: the faults that the official client does not survive by itself."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable
from dataclasses import replace
from typing import Any

import pytest
from fake_phoenix import TOPIC, FakePhoenix
from realtime import AsyncRealtimeClient
from realtime_channel import QUICK, client_tasks, live_channel, until


@contextlib.asynccontextmanager
async def bare(
    phoenix: FakePhoenix, heard: Callable[[Any], None], **options: Any
) -> AsyncIterator[AsyncRealtimeClient]:
    """The official client without a supervisor, joined, as its documentation shows it."""
    url = f"http://127.0.0.1:{phoenix.port}/realtime/v1"
    client = AsyncRealtimeClient(url, token="anon", **options)
    await client.connect()
    channel = client.channel(TOPIC)
    channel.on_broadcast("*", heard)
    await channel.subscribe()
    yield client
    if client._ws_connection is not None:
        # A client whose reader is dead would wait ten seconds for the closing handshake.
        client._ws_connection.transport.abort()
    await client.close()
    for task in client_tasks():
        task.cancel()


async def stays_deaf(phoenix: FakePhoenix, heard: list[int]) -> None:
    """Hints are repeated for half a second and none arrives."""

    async def told() -> bool:
        await phoenix.broadcast(2)
        return 2 in heard

    with pytest.raises(TimeoutError):
        await until(told, seconds=0.5)


async def test_the_bare_client_stays_deaf_after_a_failed_callback(phoenix: FakePhoenix) -> None:
    """Negative control: without the supervisor one exception in a callback silences the client."""
    heard: list[int] = []

    def fail(message: Any) -> None:
        heard.append(message["payload"]["id"])
        raise RuntimeError

    async with bare(phoenix, fail) as client:
        await phoenix.broadcast(1)
        assert client._listen_task is not None
        await asyncio.wait({client._listen_task})

        await stays_deaf(phoenix, heard)
        assert client.is_connected
        assert client_tasks(), "the check for tasks left behind would see them"


async def test_the_bare_client_stays_deaf_after_the_token_ended(phoenix: FakePhoenix) -> None:
    """Negative control: a channel closed by the server is never joined again."""
    heard: list[int] = []
    async with bare(phoenix, lambda message: heard.append(message["payload"]["id"])) as client:
        await phoenix.broadcast(1)
        await until(lambda: 1 in heard)
        await phoenix.send("phx_close", {})

        await stays_deaf(phoenix, heard)
        assert client.is_connected


async def test_the_bare_client_stays_deaf_after_a_long_outage(phoenix: FakePhoenix) -> None:
    """Negative control: it gives up after five tries (15 s by its clock, here 0.15 s)."""
    heard: list[int] = []
    async with bare(
        phoenix, lambda message: heard.append(message["payload"]["id"]), initial_backoff=0.01
    ):
        await phoenix.broadcast(1)
        await until(lambda: 1 in heard)
        await phoenix.stop()
        await until(lambda: not [one for one in client_tasks() if "_listen" in repr(one)])
        await phoenix.start()

        await stays_deaf(phoenix, heard)


async def test_without_canaries_a_mute_server_goes_unnoticed(phoenix: FakePhoenix) -> None:
    """Negative control: the supervisor too is deaf to silence, if it sends no canaries."""
    async with live_channel(phoenix, replace(QUICK, canary_seconds=3600)) as listening:
        phoenix.mute = True

        with pytest.raises(TimeoutError):
            await until(lambda: listening.channel.rebuild_count >= 1, seconds=0.5)
