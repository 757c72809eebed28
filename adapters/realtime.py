"""
One Realtime channel, joined and kept joined; knows no jobs.

The official client (2.34.1) can be deaf while it says it is connected: after an outage longer than
its retries, after one exception in a callback, after the token's end (`phx_close`), and when the
server falls mute. So the client's own reconnecting is off. A supervisor watches one short-lived
client, sends itself a canary, hands over fresh tokens, and at the first doubt builds a new client.
"""

import asyncio
import contextlib
import random
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Final, Protocol

from realtime import AsyncRealtimeChannel, AsyncRealtimeClient, RealtimeSubscribeStates
from realtime.types import (
    BroadcastPayload,
    PostgresChangesPayload,
    RealtimeChannelOptions,
    RealtimePostgresChangesListenEvent,
)

from adapters import telemetry


log = telemetry.get_logger(__name__)

CANARY: Final = "canary"
"""Event that a channel sends to itself to learn whether it still hears."""

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


@dataclass(frozen=True, slots=True, kw_only=True)
class Notice:
    """A hint: `event` is the broadcast's name, or INSERT, UPDATE, DELETE for a row's change."""

    event: str
    payload: Mapping[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class RowChanges:
    """One `postgres_changes` subscription."""

    table: str
    event: RealtimePostgresChangesListenEvent = RealtimePostgresChangesListenEvent.All
    schema: str = "public"
    filter: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ChannelTimings:
    """How patient the supervisor is; all in seconds but the count."""

    check_seconds: float = 5.0
    """How often the token and the canary are looked at."""
    canary_seconds: float = 60.0
    canary_misses: int = 2
    """Unanswered canaries after which the client is rebuilt."""
    join_seconds: float = 10.0
    max_age_seconds: float = 3600.0
    """A client older than this (less up to a fifth) is rebuilt whatever it says."""
    backoff_seconds: float = 0.5
    """First pause before a rebuild, doubled by each that fails, times 0.5 to 1.5."""
    max_backoff_seconds: float = 30.0


@dataclass(frozen=True, slots=True, kw_only=True)
class ChannelSettings:
    """Which channel, on which server."""

    url: str
    """The project's URL, `http(s)://…`."""
    apikey: str
    topic: str
    changes: tuple[RowChanges, ...] = ()
    timings: ChannelTimings = ChannelTimings()


class ChannelFault(Exception):
    """The channel could not be joined."""


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
        link = _Link(self._settings, self._heard, self._live)
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

    async def _watch(self, link: "_Link") -> str:
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


class _Link:
    """One official client with one channel, from open to close; never joined twice."""

    def __init__(
        self,
        settings: ChannelSettings,
        heard: Callable[[Notice], None],
        live: Callable[[], None],
    ) -> None:
        self.broken: asyncio.Future[str] = asyncio.get_running_loop().create_future()
        self._settings = settings
        self._heard = heard
        self._live = live
        self._token = ""
        self._canaries_unanswered = 0
        self._next_canary_at = 0.0
        self._client = AsyncRealtimeClient(
            f"{settings.url}/realtime/v1", token=settings.apikey, auto_reconnect=False
        )
        self._channel = self._make_channel()

    async def open(self, token: str) -> None:
        """Connect and join. Raises: ChannelFault, and whatever the official client raises."""
        self._token = token
        await self._client.set_auth(token)
        async with asyncio.timeout(self._settings.timings.join_seconds):
            await self._client.connect()
            if listening := _listen_task(self._client):
                listening.add_done_callback(lambda _: self._break("the client stopped listening"))
            await self._channel.subscribe(self._status)
        if self.broken.done():
            raise ChannelFault(self.broken.result())

    async def use_token(self, token: str) -> None:
        """Tell the server about a new token, so that it does not close the channel."""
        if token != self._token:
            self._token = token
            await self._client.set_auth(token)

    async def sing(self, now: float) -> None:
        """Send a canary when one is due; break when too many went unheard."""
        timings = self._settings.timings
        if now < self._next_canary_at:
            return
        if self._canaries_unanswered >= timings.canary_misses:
            self._break(f"{self._canaries_unanswered} canaries unanswered")
            return
        self._canaries_unanswered += 1
        self._next_canary_at = now + timings.canary_seconds
        await self._channel.send_broadcast(CANARY, {})

    async def close(self) -> None:
        """Close the socket and end every task of the client; its own close leaves timers behind."""
        self._break("closed")
        connection = _connection(self._client)
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

    def _make_channel(self) -> AsyncRealtimeChannel:
        options: RealtimeChannelOptions = {
            "config": {
                "broadcast": {"ack": False, "self": True},
                "presence": {"key": "", "enabled": False},
                "private": True,
            }
        }
        channel = self._client.channel(self._settings.topic, options)
        channel.on_broadcast("*", self._on_broadcast)
        # The feed of row changes is live only when this comes, a second or so after the join.
        channel.on_system(lambda _: self._live())
        for changes in self._settings.changes:
            channel.on_postgres_changes(
                changes.event,
                self._on_change,
                table=changes.table,
                schema=changes.schema,
                filter=changes.filter,
            )
        return channel

    def _on_broadcast(self, message: BroadcastPayload) -> None:
        self._canaries_unanswered = 0
        if message["event"] != CANARY:
            self._heard(Notice(event=message["event"], payload=message["payload"]))

    def _on_change(self, message: PostgresChangesPayload) -> None:
        self._canaries_unanswered = 0
        data = message["data"]
        payload = data.get("record") or data.get("old_record") or {}
        self._heard(Notice(event=data["type"].value, payload=payload))

    def _status(self, status: RealtimeSubscribeStates, error: Exception | None) -> None:
        if status is not RealtimeSubscribeStates.SUBSCRIBED:
            self._break(f"{status.value}: {error or 'no reason given'}")

    def _break(self, reason: str) -> None:
        if not self.broken.done():
            self.broken.set_result(reason)


# The official client names these privately and offers nothing to wait on; 2.34.1 is pinned.
def _connection(client: AsyncRealtimeClient) -> Any:
    return client._ws_connection  # noqa: SLF001 - see above


def _listen_task(client: AsyncRealtimeClient) -> asyncio.Task[Any] | None:
    return client._listen_task  # noqa: SLF001 - see above


def _tasks(client: AsyncRealtimeClient, channel: AsyncRealtimeChannel) -> list[asyncio.Task[Any]]:
    """Every task that the client and its channel have running."""
    pushes = [
        channel.join_push,
        *channel.messages_waiting_for_ack.values(),
        *channel._push_buffer,  # noqa: SLF001 - see above
    ]
    found = [
        client._listen_task,  # noqa: SLF001 - see above
        client._heartbeat_task,  # noqa: SLF001 - see above
        channel.rejoin_timer.timer,
        *channel._background_tasks,  # noqa: SLF001 - see above
        *(push.timeout_task for push in pushes),
    ]
    return [task for task in dict.fromkeys(found) if task is not None]
