"""The supervised channel hears again after every fault that leaves the official client deaf."""

import asyncio

import pytest
from fake_phoenix import TOPIC, FakePhoenix
from realtime_channel import ChannelUnderTest, client_tasks, live_channel, until

from s3_sam3 import realtime


async def test_joins_the_private_channel_with_the_token(listening: ChannelUnderTest) -> None:
    """A join is private and carries the machine's token, and the channel says it is live."""
    assert listening.phoenix.joins[0]["private"] is True
    assert listening.phoenix.tokens[0] == "token-1"
    assert listening.channel.live.is_set()


async def test_canaries_are_not_passed_on(listening: ChannelUnderTest) -> None:
    """The channel's own canary proves that messages arrive, and reaches nobody else."""
    echoes = len(listening.heard)

    await asyncio.wait_for(_quiet(listening, seconds=0.3), timeout=5)

    assert len(listening.heard) == echoes
    assert listening.channel.rebuild_count == 0


async def _quiet(listening: ChannelUnderTest, *, seconds: float) -> None:
    """Let several canaries pass."""
    ends_at = asyncio.get_running_loop().time() + seconds
    await until(lambda: asyncio.get_running_loop().time() >= ends_at)


@pytest.mark.parametrize("code", [1000, 1001, 1012])
async def test_hears_again_after_a_clean_close(listening: ChannelUnderTest, code: int) -> None:
    """A close by the server, however polite, is followed by a new join."""
    for connection in list(listening.phoenix.connections):
        await connection.close(code)

    await listening.hears(2)
    assert listening.lives >= 2


async def test_hears_again_after_a_cut_connection(listening: ChannelUnderTest) -> None:
    """A connection that vanishes without a closing handshake is replaced."""
    for connection in list(listening.phoenix.connections):
        connection.transport.abort()

    await listening.hears(2)


async def test_hears_again_after_a_long_outage(listening: ChannelUnderTest) -> None:
    """
    An outage of eight failed rebuilds does not end the supervision.

    It stands for the 40 s after which the official client gave up: pauses are 0.02 to 0.1 s in
    place of 0.5 to 30 s, so that more tries fail here than in 40 s there.
    """
    await listening.phoenix.stop()
    await until(lambda: listening.channel.rebuild_count >= 8)
    assert not listening.channel.live.is_set()

    await listening.phoenix.start()

    await listening.hears(2)


async def test_hears_on_after_a_callback_failed(listening: ChannelUnderTest) -> None:
    """An exception in the receiver's callback is logged, and the next hint arrives."""
    listening.fail = True
    await listening.hears(2)
    listening.fail = False

    await listening.hears(3)
    assert listening.channel.rebuild_count == 0


async def test_hears_again_after_the_token_ended(listening: ChannelUnderTest) -> None:
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


async def test_hears_again_after_a_bare_close_of_the_channel(listening: ChannelUnderTest) -> None:
    """`phx_close` alone, the socket staying open, is followed by a new join."""
    await listening.phoenix.send("phx_close", {})

    await listening.hears(2)
    assert listening.channel.rebuild_count >= 1


async def test_a_new_token_is_told_without_a_rebuild(listening: ChannelUnderTest) -> None:
    """A token refreshed early reaches the server on the joined channel."""
    listening.tokens.value = "token-2"

    await until(lambda: listening.phoenix.tokens[-1] == "token-2")

    assert listening.channel.rebuild_count == 0


async def test_hears_again_after_the_server_fell_mute(listening: ChannelUnderTest) -> None:
    """An open socket that no longer answers is noticed by its missing canaries."""
    listening.phoenix.mute = True
    await until(lambda: listening.channel.rebuild_count >= 1)
    listening.phoenix.mute = False

    await listening.hears(2)


async def test_hears_after_a_refused_join(listening: ChannelUnderTest) -> None:
    """A join the server refuses is tried again until it is granted."""
    listening.phoenix.refusing = True
    await listening.phoenix.send("phx_close", {})
    await until(lambda: listening.channel.rebuild_count >= 3)
    listening.phoenix.refusing = False

    await listening.hears(2)


async def test_hears_again_after_the_listening_task_died(listening: ChannelUnderTest) -> None:
    """A client whose reading task ended is rebuilt at once."""
    assert listening.channel.rebuild_count == 0
    next(task for task in client_tasks() if "_listen" in repr(task)).cancel()

    await listening.hears(2)


async def test_an_old_client_is_replaced(phoenix: FakePhoenix) -> None:
    """A client past its age is rebuilt though nothing seems wrong."""
    timings = realtime.ChannelTimings(
        check_seconds=0.02, max_age_seconds=0.1, backoff_seconds=0.01, max_backoff_seconds=0.02
    )
    async with live_channel(phoenix, timings) as listening:
        await until(lambda: listening.channel.rebuild_count >= 2)
        await listening.hears(2)


async def test_a_new_connection_speaks_with_the_new_token(listening: ChannelUnderTest) -> None:
    """After a cut the channel is joined with the token of now, not with the one it began with."""
    listening.tokens.value = "token-2"
    for connection in list(listening.phoenix.connections):
        connection.transport.abort()

    await listening.hears(2)
    assert listening.phoenix.tokens[-1] == "token-2"


async def test_hears_again_after_joins_that_nobody_answered(listening: ChannelUnderTest) -> None:
    """A join that times out is tried again, however often."""
    listening.phoenix.mute = True
    for connection in list(listening.phoenix.connections):
        connection.transport.abort()
    await until(lambda: listening.channel.rebuild_count >= 3)
    assert not listening.channel.live.is_set()
    listening.phoenix.mute = False

    await listening.hears(2)


@pytest.mark.parametrize("text", ["no json", "{}", "[]", '{"event": "phx_reply"}', "null"])
async def test_hears_again_after_a_senseless_frame(listening: ChannelUnderTest, text: str) -> None:
    """A frame that the client cannot read may end the client, but not the channel."""
    for connection in list(listening.phoenix.connections):
        await connection.send(text)

    await listening.hears(2)
