"""
One private Realtime channel that is joined again after every known fault.

The official client (realtime-py 2.34.1) stops delivering messages for good, while it says it is
connected, after an outage longer than its retries, an exception in a callback, the end of the
token (`phx_close`), or when the server stops answering on an open socket. So its own reconnecting
is off. `SupervisedChannel` watches one short-lived client, sends itself a canary broadcast,
passes on new tokens, and builds a new client at the first sign of trouble.
"""

import asyncio
import contextlib
import logging
import random
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final

from realtime import AsyncRealtimeChannel, AsyncRealtimeClient, RealtimeSubscribeStates
from realtime.types import BroadcastPayload, RealtimeChannelOptions


log = logging.getLogger(__name__)

CANARY: Final = "canary"
"""Event that a channel sends to itself to learn whether messages still arrive."""

_RANDOM: Final = random.SystemRandom()

_OPTIONS: Final[RealtimeChannelOptions] = {
    "config": {
        # `self`: the server sends a client's own broadcasts back to it, canaries included.
        "broadcast": {"ack": False, "self": True},
        "presence": {"key": "", "enabled": False},
        "private": True,
    }
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Notice:
    """A broadcast: a hint to look again."""

    event: str
    payload: Mapping[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class ChannelTimings:
    """When the supervisor acts; all in seconds except the count."""

    check_seconds: float = 5.0
    """Between two looks at the token and the canary."""
    canary_seconds: float = 60.0
    canary_misses: int = 2
    """Unanswered canaries after which the client is rebuilt."""
    join_seconds: float = 10.0
    max_age_seconds: float = 3600.0
    """A client is rebuilt at this age, less up to a fifth, although nothing seems wrong."""
    backoff_seconds: float = 0.5
    """First pause before a rebuild; doubled by each failure, times 0.5 to 1.5."""
    max_backoff_seconds: float = 30.0


@dataclass(frozen=True, slots=True, kw_only=True)
class ChannelSettings:
    url: str
    """The project's URL, `http(s)://…`."""
    apikey: str
    topic: str
    timings: ChannelTimings = ChannelTimings()


class ChannelFault(Exception):
    """The channel could not be joined."""


class SupervisedChannel:
    """
    Keeps one private channel joined.

    *token* gives an access token that is good for a while. *on_notice* is called for each message,
    *on_live* after each join: messages before it may be lost. Both are called on the event loop
    and must not block; their exceptions are logged.
    """

    def __init__(
        self,
        settings: ChannelSettings,
        token: Callable[[], Awaitable[str]],
        *,
        on_notice: Callable[[Notice], None],
        on_live: Callable[[], None],
    ) -> None:
        self.live = asyncio.Event()
        """Set while the channel is joined."""
        self.rebuild_count = 0
        self._settings = settings
        self._timings = settings.timings
        self._token = token
        self._on_notice = on_notice
        self._on_live = on_live
        self._run: asyncio.Task[Any] | None = None

    async def run(self) -> None:
        """Keep the channel joined until cancelled or closed; network faults raise nothing."""
        self._run = asyncio.current_task()
        failures = 0
        while True:
            seconds = await self._one_client()
            self.rebuild_count += 1
            failures = 0 if seconds > self._timings.max_backoff_seconds else failures + 1
            await asyncio.sleep(self._pause(failures))

    async def close(self) -> None:
        """End `run` and wait for it."""
        if self._run is not None and not self._run.done():
            self._run.cancel()
            await asyncio.wait({self._run})

    async def _one_client(self) -> float:
        """Join with a new client, watch it until it is in doubt, close it; its age in seconds."""
        loop = asyncio.get_running_loop()
        born_at = loop.time()
        client = _Client(self._settings, self._notice)
        try:
            await client.open(await self._token())
            self.live.set()
            log.info("realtime_joined", extra={"topic": self._settings.topic})
            self._guarded(self._on_live)
            reason = await self._watch(client)
        except Exception as error:  # noqa: BLE001 - the client raises bare Exception, the token source anything
            reason = f"{type(error).__name__}: {error}"
        finally:
            self.live.clear()
            await client.close()
        log.warning("realtime_lost", extra={"topic": self._settings.topic, "reason": reason})
        return loop.time() - born_at

    async def _watch(self, client: "_Client") -> str:
        """Watch a joined client; give the reason why it must be replaced."""
        loop = asyncio.get_running_loop()
        ends_at = loop.time() + self._timings.max_age_seconds * _RANDOM.uniform(0.8, 1.0)
        while loop.time() < ends_at:
            await asyncio.wait({client.broken}, timeout=self._timings.check_seconds)
            if client.broken.done():
                return client.broken.result()
            await client.use_token(await self._token())
            await client.send_canary(loop.time())
        return "maximum age"

    def _pause(self, failures: int) -> float:
        longest = self._timings.max_backoff_seconds
        pause = min(longest, self._timings.backoff_seconds * 2.0 ** min(failures, 16))
        return pause * _RANDOM.uniform(0.5, 1.5)

    def _notice(self, notice: Notice) -> None:
        self._guarded(lambda: self._on_notice(notice))

    def _guarded(self, call: Callable[[], None]) -> None:
        try:
            call()
        except Exception:  # an exception in a callback would end the client's listening for good
            log.exception("realtime_callback_failed", extra={"topic": self._settings.topic})


class _Client:
    """One official client with one channel, from open to close; `broken` says why it ended."""

    def __init__(self, settings: ChannelSettings, notice: Callable[[Notice], None]) -> None:
        self.broken: asyncio.Future[str] = asyncio.get_running_loop().create_future()
        self._timings = settings.timings
        self._notice = notice
        self._token = ""
        self._canaries_unanswered = 0
        self._next_canary_at = 0.0
        self._client = AsyncRealtimeClient(
            f"{settings.url}/realtime/v1", token=settings.apikey, auto_reconnect=False
        )
        self._channel = self._client.channel(settings.topic, _OPTIONS)
        self._channel.on_broadcast("*", self._on_broadcast)

    async def open(self, token: str) -> None:
        """Connect and join. Raises ChannelFault, and what the official client raises."""
        self._token = token
        await self._client.set_auth(token)
        async with asyncio.timeout(self._timings.join_seconds):
            await self._client.connect()
            if listening := self._client._listen_task:  # noqa: SLF001 - see `_tasks`
                listening.add_done_callback(lambda _: self._break("the client stopped listening"))
            await self._channel.subscribe(self._on_status)
        if self.broken.done():
            raise ChannelFault(self.broken.result())

    async def use_token(self, token: str) -> None:
        """Pass a new token on before the old one ends, or the server closes the channel."""
        if token != self._token:
            self._token = token
            await self._client.set_auth(token)

    async def send_canary(self, now: float) -> None:
        """Send a canary when one is due; break when too many were not answered."""
        if now < self._next_canary_at:
            return
        if self._canaries_unanswered >= self._timings.canary_misses:
            self._break(f"{self._canaries_unanswered} canaries unanswered")
            return
        self._canaries_unanswered += 1
        self._next_canary_at = now + self._timings.canary_seconds
        await self._channel.send_broadcast(CANARY, {})

    async def close(self) -> None:
        """Close the socket and end every task of the client; its own close leaves timers behind."""
        self._break("closed")
        connection = self._client._ws_connection  # noqa: SLF001 - see `_tasks`
        tasks = _tasks(self._client, self._channel)
        # A dead peer never answers the closing handshake, and a broken client may raise anything.
        with contextlib.suppress(Exception):
            async with asyncio.timeout(1):
                await self._client.close()
        if connection is not None:
            connection.transport.abort()
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    def _on_broadcast(self, message: BroadcastPayload) -> None:
        self._canaries_unanswered = 0
        if message["event"] != CANARY:
            self._notice(Notice(event=message["event"], payload=message["payload"]))

    def _on_status(self, status: RealtimeSubscribeStates, error: Exception | None) -> None:
        if status is not RealtimeSubscribeStates.SUBSCRIBED:
            self._break(f"{status.value}: {error or 'no reason given'}")

    def _break(self, reason: str) -> None:
        if not self.broken.done():
            self.broken.set_result(reason)


def _tasks(client: AsyncRealtimeClient, channel: AsyncRealtimeChannel) -> list[asyncio.Task[Any]]:
    """
    Give every running task of the client and its channel.

    The client offers nothing public to wait on or to cancel, so its private names are used; its
    version is pinned.
    """
    pushes = [
        channel.join_push,
        *channel.messages_waiting_for_ack.values(),
        *channel._push_buffer,  # noqa: SLF001
    ]
    found = [
        client._listen_task,  # noqa: SLF001
        client._heartbeat_task,  # noqa: SLF001
        channel.rejoin_timer.timer,
        *channel._background_tasks,  # noqa: SLF001
        *(push.timeout_task for push in pushes),
    ]
    return [task for task in dict.fromkeys(found) if task is not None]
