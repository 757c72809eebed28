"""
One Realtime channel, joined and kept joined; knows no jobs.

The official client (2.34.1) can be deaf while it says it is connected: after an outage longer than
its retries, after one exception in a callback, after the token's end (`phx_close`), and when the
server falls mute. So the client's own reconnecting is off. A supervisor watches one short-lived
client, sends itself a canary, hands over fresh tokens, and at the first doubt builds a new client.
"""

import asyncio
import random
from collections.abc import Callable
from enum import StrEnum
from typing import Any, Final, Protocol

from adapters.realtime_link import (
    ChannelFault,
    ChannelSettings,
    ChannelTimings,
    Link,
    Notice,
    RowChanges,
)
from runtime import logs


__all__ = [
    "ChannelFault",
    "ChannelSettings",
    "ChannelState",
    "ChannelTimings",
    "Notice",
    "RowChanges",
    "SupervisedChannel",
]

log = logs.get_logger(__name__)

_DICE: Final = random.SystemRandom()


class ChannelState(StrEnum):
    """What the supervisor knows of its channel."""

    CONNECTING = "connecting"
    LIVE = "live"
    DEAF = "deaf"
    CLOSED = "closed"


class TokenSource(Protocol):
    """Gives the JWT a channel speaks with."""

    async def token(self) -> str:
        """An access token that is still good for a while; refreshed early by the source."""
        ...


class SupervisedChannel:
    """
    Keeps one private channel joined.

    *on_notice* is called for each message, *on_live* after each (re)join, when messages may have
    been lost meanwhile. Both are called on the loop, must not block, and may fail without harm.
    """

    def __init__(
        self,
        settings: ChannelSettings,
        tokens: TokenSource,
        *,
        on_notice: Callable[[Notice], None],
        on_live: Callable[[], None],
    ) -> None:
        self.state = ChannelState.CONNECTING
        self.rebuild_count = 0
        self._settings = settings
        self._timings = settings.timings
        self._tokens = tokens
        self._on_notice = on_notice
        self._on_live = on_live
        self._heard_at: float | None = None
        self._run: asyncio.Task[Any] | None = None

    @property
    def seconds_since_last_hint(self) -> float | None:
        """Seconds since the last message that was no canary; None: there was none yet."""
        now = asyncio.get_running_loop().time()
        return None if self._heard_at is None else now - self._heard_at

    async def run(self) -> None:
        """Keep the channel joined until cancelled or closed; faults of the network stay inside."""
        self._run = asyncio.current_task()
        failures = 0
        try:
            while True:
                lived = await self._one_life()
                self.state = ChannelState.DEAF
                self.rebuild_count += 1
                failures = 0 if lived > self._timings.max_backoff_seconds else failures + 1
                await asyncio.sleep(self._pause(failures))
        finally:
            self.state = ChannelState.CLOSED

    async def close(self) -> None:
        """End `run` and wait until nothing of it is left."""
        if self._run is not None and not self._run.done():
            self._run.cancel()
            await asyncio.wait({self._run})

    async def _one_life(self) -> float:
        """Join with a new client, watch it until a doubt, close it; answer the seconds it lived."""
        loop = asyncio.get_running_loop()
        born_at = loop.time()
        self.state = ChannelState.CONNECTING
        link = Link(self._settings, self._heard, self._live)
        try:
            await link.open(await self._tokens.token())
            self.state = ChannelState.LIVE
            log.info("realtime_joined", topic=self._settings.topic)
            self._live()
            reason = await self._watch(link)
        except Exception as error:  # noqa: BLE001 - the client raises bare Exception; hints may fail
            reason = f"{type(error).__name__}: {error}"
        finally:
            await link.close()
        log.warning("realtime_lost", topic=self._settings.topic, reason=reason)
        return loop.time() - born_at

    async def _watch(self, link: Link) -> str:
        """Why the link is not to be trusted any longer."""
        loop = asyncio.get_running_loop()
        ends_at = loop.time() + self._timings.max_age_seconds * _DICE.uniform(0.8, 1.0)
        while loop.time() < ends_at:
            await asyncio.wait({link.broken}, timeout=self._timings.check_seconds)
            if link.broken.done():
                return link.broken.result()
            await link.use_token(await self._tokens.token())
            await link.sing(loop.time())
        return "maximum age"

    def _pause(self, failures: int) -> float:
        longest = self._timings.max_backoff_seconds
        pause = min(longest, self._timings.backoff_seconds * 2.0 ** min(failures, 16))
        return pause * _DICE.uniform(0.5, 1.5)

    def _heard(self, notice: Notice) -> None:
        self._heard_at = asyncio.get_running_loop().time()
        self._guarded(lambda: self._on_notice(notice))

    def _live(self) -> None:
        self._guarded(self._on_live)

    def _guarded(self, call: Callable[[], None]) -> None:
        try:
            call()
        except Exception:  # an exception in a callback would end the client's listening for good
            log.exception("realtime_callback_failed", topic=self._settings.topic)
