"""The supervised channel hears again after every fault that leaves the official client deaf."""

import asyncio
import contextlib
import os
from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest
from fake_phoenix import TOPIC, FakePhoenix
from realtime import AsyncRealtimeClient

from adapters import realtime
from adapters.realtime import ChannelState


QUICK = realtime.ChannelTimings(
    check_seconds=0.02,
    canary_seconds=0.05,
    canary_misses=2,
    join_seconds=1.0,
    backoff_seconds=0.02,
    max_backoff_seconds=0.1,
)


class FakeTokens:
    """Hands out whatever token it holds."""

    def __init__(self) -> None:
        self.value = "token-1"

    async def token(self) -> str:
        """The held token."""
        return self.value


class Listening:
    """A supervised channel at the fake server, and what it heard."""

    def __init__(self, phoenix: FakePhoenix, timings: realtime.ChannelTimings) -> None:
        self.phoenix = phoenix
        self.tokens = FakeTokens()
        self.heard: list[Any] = []
        self.lives = 0
        self.fail = False
        settings = realtime.ChannelSettings(
            url=f"http://127.0.0.1:{phoenix.port}", apikey="anon", topic=TOPIC, timings=timings
        )
        self.channel = realtime.SupervisedChannel(
            settings, self.tokens, on_notice=self._notice, on_live=self._live
        )

    def _notice(self, notice: realtime.Notice) -> None:
        self.heard.append(notice.payload["id"])
        if self.fail:
            raise RuntimeError

    def _live(self) -> None:
        self.lives += 1

    async def hears(self, number: int) -> None:
        """Wait until a hint with *number* arrives; the server repeats it meanwhile."""

        async def told() -> bool:
            await self.phoenix.broadcast(number)
            return number in self.heard

        await until(told)


async def until(condition: Callable[[], Any], seconds: float = 10.0) -> None:
    """Wait until *condition* holds (it may be a coroutine function)."""
    async with asyncio.timeout(seconds):
        while True:
            answer = condition()
            if await answer if asyncio.iscoroutine(answer) else answer:
                return
            await asyncio.sleep(0.01)


@pytest.fixture
async def phoenix() -> AsyncIterator[FakePhoenix]:
    """A running fake server."""
    server = FakePhoenix()
    await server.start()
    yield server
    await server.stop()


@pytest.fixture
async def listening(phoenix: FakePhoenix) -> AsyncIterator[Listening]:
    """A supervised channel that is live and has heard hint 1."""
    async with _listening(phoenix, QUICK) as one:
        yield one


@contextlib.asynccontextmanager
async def _listening(
    phoenix: FakePhoenix, timings: realtime.ChannelTimings
) -> AsyncIterator[Listening]:
    one = Listening(phoenix, timings)
    running = asyncio.create_task(one.channel.run())
    await one.hears(1)
    yield one
    await one.channel.close()
    assert running.done()
    assert one.channel.state is ChannelState.CLOSED
    assert not _client_tasks(), "the official client left tasks behind"


def _client_tasks() -> list[asyncio.Task[Any]]:
    """Running tasks whose code is the official client's."""
    return [task for task in asyncio.all_tasks() if f"{os.sep}realtime{os.sep}_async" in repr(task)]


async def test_joins_the_private_channel_with_the_token(listening: Listening) -> None:
    """A join is private and carries the machine's token, and the channel says it is live."""
    assert listening.phoenix.joins[0]["private"] is True
    assert listening.phoenix.tokens[0] == "token-1"
    assert listening.channel.state is ChannelState.LIVE
    assert listening.channel.seconds_since_last_hint is not None


async def test_canaries_are_not_passed_on(listening: Listening) -> None:
    """The channel's own canary proves the ear and reaches nobody else."""
    echoes = len(listening.heard)

    await asyncio.wait_for(_quiet(listening, seconds=0.3), timeout=5)

    assert len(listening.heard) == echoes
    assert listening.channel.rebuild_count == 0


async def _quiet(listening: Listening, *, seconds: float) -> None:
    """Let several canaries pass."""
    ends_at = asyncio.get_running_loop().time() + seconds
    await until(lambda: asyncio.get_running_loop().time() >= ends_at)


@pytest.mark.parametrize("code", [1000, 1001, 1012])
async def test_hears_again_after_a_clean_close(listening: Listening, code: int) -> None:
    """A close by the server, however polite, is followed by a new join."""
    for connection in list(listening.phoenix.connections):
        await connection.close(code)

    await listening.hears(2)
    assert listening.lives >= 2


async def test_hears_again_after_a_cut_connection(listening: Listening) -> None:
    """A connection that vanishes without a closing handshake is replaced."""
    for connection in list(listening.phoenix.connections):
        connection.transport.abort()

    await listening.hears(2)


async def test_hears_again_after_a_long_outage(listening: Listening) -> None:
    """An outage of many failed rebuilds does not end the supervision."""
    await listening.phoenix.stop()
    await until(lambda: listening.channel.rebuild_count >= 8)
    assert listening.channel.state is not ChannelState.LIVE

    await listening.phoenix.start()

    await listening.hears(2)


async def test_hears_on_after_a_callback_failed(listening: Listening) -> None:
    """An exception in the receiver's callback is logged, and the next hint arrives."""
    listening.fail = True
    await listening.hears(2)
    listening.fail = False

    await listening.hears(3)
    assert listening.channel.rebuild_count == 0


async def test_hears_again_after_the_token_ended(listening: Listening) -> None:
    """A channel closed for an old token is joined again, with the new one."""
    listening.tokens.value = "token-2"
    await listening.phoenix.send(
        "system",
        {
            "channel": TOPIC,
            "extension": "system",
            "message": "Token has expired 0 seconds ago",
            "status": "error",
        },
    )
    await listening.phoenix.send("phx_close", {})

    await listening.hears(2)
    assert listening.phoenix.tokens[-1] == "token-2"


async def test_hears_again_after_a_bare_close_of_the_channel(listening: Listening) -> None:
    """`phx_close` alone, the socket staying open, is followed by a new join."""
    await listening.phoenix.send("phx_close", {})

    await listening.hears(2)
    assert listening.channel.rebuild_count >= 1


async def test_a_new_token_is_told_without_a_rebuild(listening: Listening) -> None:
    """A token refreshed early reaches the server on the joined channel."""
    listening.tokens.value = "token-2"

    await until(lambda: listening.phoenix.tokens[-1] == "token-2")

    assert listening.channel.rebuild_count == 0


async def test_hears_again_after_the_server_fell_mute(listening: Listening) -> None:
    """An open socket that no longer answers is noticed by its missing canaries."""
    listening.phoenix.mute = True
    await until(lambda: listening.channel.rebuild_count >= 1)
    listening.phoenix.mute = False

    await listening.hears(2)


async def test_hears_after_a_refused_join(listening: Listening) -> None:
    """A join the server refuses is tried again until it is granted."""
    listening.phoenix.refusing = True
    await listening.phoenix.send("phx_close", {})
    await until(lambda: listening.channel.rebuild_count >= 3)
    listening.phoenix.refusing = False

    await listening.hears(2)


async def test_hears_again_after_the_listening_task_died(listening: Listening) -> None:
    """A client whose reading task ended is rebuilt at once."""
    assert listening.channel.rebuild_count == 0
    next(task for task in _client_tasks() if "_listen" in repr(task)).cancel()

    await listening.hears(2)


async def test_an_old_client_is_replaced(phoenix: FakePhoenix) -> None:
    """A client past its age is rebuilt though nothing seems wrong."""
    timings = realtime.ChannelTimings(
        check_seconds=0.02, max_age_seconds=0.1, backoff_seconds=0.01, max_backoff_seconds=0.02
    )
    async with _listening(phoenix, timings) as listening:
        await until(lambda: listening.channel.rebuild_count >= 2)
        await listening.hears(2)


async def test_the_bare_client_stays_deaf_after_a_failed_callback(phoenix: FakePhoenix) -> None:
    """Negative control: without the supervisor one exception in a callback silences the client."""
    heard: list[int] = []

    def fail(message: Any) -> None:
        heard.append(message["payload"]["id"])
        raise RuntimeError

    client = AsyncRealtimeClient(f"http://127.0.0.1:{phoenix.port}/realtime/v1", token="anon")
    await client.connect()
    channel = client.channel(TOPIC)
    channel.on_broadcast("*", fail)
    await channel.subscribe()
    await phoenix.broadcast(1)
    assert client._listen_task is not None
    await asyncio.wait({client._listen_task})

    await phoenix.broadcast(2)
    with pytest.raises(TimeoutError):
        await until(lambda: 2 in heard, seconds=0.5)

    assert client.is_connected
    assert _client_tasks(), "the check for tasks left behind would see them"
    await client.close()
