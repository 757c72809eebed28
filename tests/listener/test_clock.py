"""The poll is the guarantee: whatever becomes of hints, no task waits longer than 15 s."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine
from typing import Any, Final

import pytest
from fake_phoenix import TOPIC, FakePhoenix
from realtime_channel import QUICK, ChannelUnderTest, live_channel
from virtual_time import run_in_virtual_time

from adapters import rest
from listener.settings import ListenerSettings
from listener.wake import Wake, WakeSource, tick


BOUND_SECONDS: Final = 15.0

POLL_SECONDS: Final = float(ListenerSettings.model_fields["listener_poll_seconds"].default)

A_DAY: Final = 86_400.0

Tick = Callable[..., Coroutine[Any, Any, None]]


class SlowStore:
    """A database whose reaper takes the given seconds."""

    def __init__(self, *seconds: float, fails: bool = False) -> None:
        self.reaped = 0
        self._seconds = seconds
        self._fails = fails

    async def reap(self) -> int:
        """Take the next of the given times, over and over."""
        await asyncio.sleep(self._seconds[self.reaped % len(self._seconds)])
        self.reaped += 1
        if self._fails:
            raise rest.RestUnavailable
        return 0


async def longest_wait(tick: Tick, store: SlowStore, seconds: float = A_DAY) -> float:
    """The longest time without a look, in *seconds* of virtual time."""
    wake, loop = Wake(), asyncio.get_running_loop()
    ticking = asyncio.create_task(tick(wake, store, poll_seconds=POLL_SECONDS))
    longest = last = 0.0
    while last < seconds:
        await wake.wait()
        longest, last = max(longest, loop.time() - last), loop.time()
    ticking.cancel()
    await asyncio.wait({ticking})
    return longest


@pytest.mark.parametrize(
    "store",
    [SlowStore(0), SlowStore(0.01, 60), SlowStore(A_DAY), SlowStore(5, fails=True)],
    ids=["quick", "slow", "hangs", "fails"],
)
def test_no_look_is_later_than_the_bound(store: SlowStore) -> None:
    """A day by the default settings, whatever the reaper does meanwhile."""
    assert run_in_virtual_time(longest_wait(tick, store)) < BOUND_SECONDS - 1.5


def test_looks_are_not_too_many() -> None:
    """An idle listener asks every five seconds at most."""

    async def looks() -> int:
        store = SlowStore(0)
        await longest_wait(tick, store, seconds=1000)
        return store.reaped

    assert run_in_virtual_time(looks()) <= 1000 / 5 + 1


async def _in_step(wake: Wake, store: SlowStore, *, poll_seconds: float) -> None:
    """A clock that waits for its reaper before it begins to wait for the next look."""
    while True:
        wake.hint(WakeSource.POLL)
        with contextlib.suppress(rest.RestUnavailable):
            await store.reap()
        await asyncio.sleep(poll_seconds * 1.3)


def test_a_clock_that_waits_for_its_reaper_is_late() -> None:
    """Negative control: in step with a reaper of three seconds a look is later than the bound."""
    assert run_in_virtual_time(longest_wait(_in_step, SlowStore(3))) > BOUND_SECONDS


def test_a_wider_jitter_would_be_late(monkeypatch: pytest.MonkeyPatch) -> None:
    """Negative control: the longest sleep is what leaves room below the bound."""
    monkeypatch.setattr("listener.wake._LONGEST", 1.6)

    assert run_in_virtual_time(longest_wait(tick, SlowStore(0))) > BOUND_SECONDS


SCALE: Final = 20
"""The faults of a real channel are met at a twentieth of their time: 40 s are 2 s here."""

FAULT_SECONDS: Final = 40 / SCALE


@pytest.fixture
async def phoenix() -> AsyncIterator[FakePhoenix]:
    """A running fake server."""
    server = FakePhoenix()
    await server.start()
    yield server
    await server.stop()


async def _clean_close(listening: ChannelUnderTest) -> None:
    for connection in list(listening.phoenix.connections):
        await connection.close(1000)


async def _outage(listening: ChannelUnderTest) -> None:
    await listening.phoenix.stop()


async def _failing_callback(listening: ChannelUnderTest) -> None:
    listening.fail = True
    await listening.phoenix.broadcast(2)


async def _expired_token(listening: ChannelUnderTest) -> None:
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


async def _mute(listening: ChannelUnderTest) -> None:
    listening.phoenix.mute = True


async def _mend(listening: ChannelUnderTest, fault: Callable[..., Awaitable[None]]) -> None:
    listening.fail = listening.phoenix.mute = False
    if fault is _outage:
        await listening.phoenix.start()


async def _longest_deaf_wait(wake: Wake, seconds: float) -> float:
    """The longest time between two looks, which is how long a task without a hint may wait."""
    loop = asyncio.get_running_loop()
    longest, last, ends_at = 0.0, loop.time(), loop.time() + seconds
    while last < ends_at:
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout_at(ends_at):
                await wake.wait()
        longest, last = max(longest, loop.time() - last), loop.time()
    return longest


async def _waits(
    listening: ChannelUnderTest, fault: Callable[..., Awaitable[None]], poll: float
) -> float:
    wake = Wake()
    ticking = asyncio.create_task(tick(wake, SlowStore(0.01), poll_seconds=poll / SCALE))
    await wake.wait()
    await fault(listening)
    longest = await _longest_deaf_wait(wake, FAULT_SECONDS)
    ticking.cancel()
    await asyncio.wait({ticking})
    await _mend(listening, fault)
    await listening.hears(3)
    return longest * SCALE


@pytest.mark.parametrize("fault", [_clean_close, _outage, _failing_callback, _expired_token, _mute])
async def test_while_the_channel_is_deaf_the_poll_is_in_time(
    phoenix: FakePhoenix, fault: Callable[..., Awaitable[None]]
) -> None:
    """
    Beside a real channel in each fault of reliability.md 1.4 no task waits longer than 15 s.

    At a scale of 1:20: the 40 s without hints (the outage among them) last 2 s, the poll's 10 s
    last half a second. Afterwards the channel hears again.
    """
    async with live_channel(phoenix, QUICK) as listening:
        assert await _waits(listening, fault, POLL_SECONDS) <= BOUND_SECONDS


async def test_without_the_poll_a_task_waits_as_long_as_the_fault(phoenix: FakePhoenix) -> None:
    """Negative control: with the clock far away the outage of 40 s (at 1:20) is waited out."""
    async with live_channel(phoenix, QUICK) as listening:
        assert await _waits(listening, _outage, 3600) >= 40
