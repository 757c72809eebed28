"""
One life of the official Realtime client: a socket with one private channel, never joined twice.

It only notices that the channel is lost; `adapters/realtime.py` decides what to do about it.
"""

import asyncio
import contextlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final

from realtime import AsyncRealtimeChannel, AsyncRealtimeClient, RealtimeSubscribeStates
from realtime.types import (
    BroadcastPayload,
    PostgresChangesPayload,
    RealtimeChannelOptions,
    RealtimePostgresChangesListenEvent,
)


CANARY: Final = "canary"
"""Event that a channel sends to itself to learn whether it still hears."""


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


class Link:
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
