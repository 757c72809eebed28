"""A supervised Realtime channel connected to the fake server, and what it received."""

import asyncio
import contextlib
import os
from collections.abc import AsyncIterator, Callable
from typing import Any

from fake_phoenix import TOPIC, FakePhoenix

from s3_sam3 import realtime


QUICK = realtime.ChannelTimings(
    check_seconds=0.02,
    canary_seconds=0.05,
    canary_misses=2,
    join_seconds=1.0,
    backoff_seconds=0.02,
    max_backoff_seconds=0.1,
)


class FakeTokens:
    """Gives the token that it holds."""

    def __init__(self) -> None:
        self.value = "token-1"

    async def token(self) -> str:
        """The held token."""
        return self.value


class ChannelUnderTest:
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
            settings, self.tokens.token, on_notice=self._notice, on_live=self._live
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


@contextlib.asynccontextmanager
async def live_channel(
    phoenix: FakePhoenix, timings: realtime.ChannelTimings
) -> AsyncIterator[ChannelUnderTest]:
    """A supervised channel that is live and has heard hint 1; it ends cleanly."""
    one = ChannelUnderTest(phoenix, timings)
    running = asyncio.create_task(one.channel.run())
    await one.hears(1)
    yield one
    await one.channel.close()
    assert running.done()
    assert not one.channel.live.is_set()
    assert not client_tasks(), "the official client left tasks behind"


def client_tasks() -> list[asyncio.Task[Any]]:
    """Running tasks whose code is the official client's."""
    return [task for task in asyncio.all_tasks() if f"{os.sep}realtime{os.sep}_async" in repr(task)]
