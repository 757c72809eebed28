"""One client's connection: joins, leaves, broadcasts and presence."""

import asyncio
import functools
import json
import logging
from collections.abc import Awaitable, Callable

import psycopg

from devstack import context, tokens
from devstack.realtime import (
    admission,
    authorization,
    bindings,
    channel,
    feed,
    hub,
    identity,
    outbox,
    phoenix,
)


log = logging.getLogger(__name__)

#: The hosted platform's limit for one connection.
MAX_CHANNELS = 100

#: API keys of the new form are no tokens; a client without a user sends them in their place.
KEY_PREFIX = "sb_"

#: asyncio's timers break far beyond this; a longer token is looked at again then.
MAX_TIMER_SECONDS = 86_400.0


Handler = Callable[[channel.Channel, phoenix.Received], Awaitable[None]]


class Session:
    """Handles the frames of one client, one after the other."""

    def __init__(
        self,
        *,
        shared: context.Context,
        channels: hub.Hub,
        source: feed.Feed,
        version: phoenix.Version,
        box: outbox.Outbox,
        key_token: str,
    ) -> None:
        """*key_token* speaks for a client that sends no token of a user."""
        self._shared = shared
        self._hub = channels
        self._feed = source
        self._version = version
        self._outbox = box
        self._key_token = key_token
        self._joined: dict[str, channel.Channel] = {}
        self._handlers: dict[str, Handler] = {
            "access_token": self._renew,
            "broadcast": self._broadcast,
            "phx_leave": self._leave,
            "presence": self._presence,
        }

    async def receive(self, frame: phoenix.Received) -> None:
        """Handle one frame; tell the client if it is refused."""
        if frame.event == "heartbeat" and frame.topic == "phoenix":
            self._reply(frame)
            return
        try:
            await self._dispatch(frame)
        except admission.RefusedError as error:
            self._refuse(frame, str(error))
        except psycopg.Error as error:
            log.warning("%s on %s failed: %s", frame.event, frame.topic, error)
            self._refuse(frame, admission.NO_DATABASE)

    def close(self) -> None:
        """Forget all channels; the client is gone."""
        for topic in list(self._joined):
            self._drop(topic)

    async def _dispatch(self, frame: phoenix.Received) -> None:
        if frame.event == "phx_join":
            await self._join(frame)
            return
        joined = self._joined.get(frame.topic)
        if joined is None and frame.event == "phx_leave":
            self._reply(frame)
            return
        if joined is None:
            raise admission.RefusedError("unmatched topic")
        handler = self._handlers.get(frame.event)
        if handler is None:
            raise admission.RefusedError(f"The devstack does not know the event {frame.event!r}")
        await handler(joined, frame)

    async def _join(self, frame: phoenix.Received) -> None:
        name = frame.topic.removeprefix(channel.TOPIC_PREFIX)
        if name in {"", frame.topic}:
            raise admission.RefusedError("TopicNameRequired: You must provide a topic name")
        if frame.topic not in self._joined and len(self._joined) >= MAX_CHANNELS:
            raise admission.RefusedError("ChannelRateLimitReached: Too many channels")
        self._drop(frame.topic)  # a second join of a topic takes the place of the first
        token = self._token(frame)
        joined = channel.Channel(
            topic=frame.topic,
            join_ref=frame.join_ref or frame.ref,
            config=channel.read_config(frame.payload),
            version=self._version,
            box=self._outbox,
            who=self._identify(token),
            token=token,
        )
        await admission.authorize(self._shared.pool, joined)
        if joined.config.wants_replay:
            raise admission.RefusedError("UnableToReplayMessages: the devstack does not replay")
        if joined.config.wait_seconds is not None:
            await self._wait(joined)
        self._welcome(frame, joined)
        await self._subscribe(joined)

    def _welcome(self, frame: phoenix.Received, joined: channel.Channel) -> None:
        self._joined[joined.topic] = joined
        self._hub.add(joined)
        self._expire_in_time(joined)
        wanted = joined.config.postgres_changes
        echo = [{**params, "id": bindings.identifier(params)} for params in wanted]
        self._reply(frame, {"postgres_changes": echo})
        joined.push("presence_state", json.dumps(self._hub.presence_state(joined)))

    async def _subscribe(self, joined: channel.Channel) -> None:
        """Check the bindings with the database; tell the client how that went."""
        try:
            joined.bindings = await admission.accepted(self._shared.pool, joined)
        except admission.RefusedError as error:
            joined.bindings = ()
            joined.push_system("postgres_changes", str(error), ok=False)
            return
        if self._feed.live.is_set():
            hub.announce_to(joined)

    async def _wait(self, joined: channel.Channel) -> None:
        """Hold the join until its bindings are served. Raises: RefusedError."""
        await admission.accepted(self._shared.pool, joined)
        seconds = joined.config.wait_seconds
        try:
            async with asyncio.timeout(seconds):
                await self._feed.live.wait()
        except TimeoutError as error:
            raise admission.RefusedError(
                f"PostgresChangesSubscribeTimeout: Timed out after {seconds} s"
            ) from error

    async def _leave(self, joined: channel.Channel, frame: phoenix.Received) -> None:
        self._drop(joined.topic)
        self._reply(frame)
        joined.push_close()

    async def _renew(self, joined: channel.Channel, frame: phoenix.Received) -> None:
        """Take a new token. As on the hosted platform there is no reply; a bad one ends it."""
        token = frame.payload.get("access_token")
        if not isinstance(token, str) or token.startswith(KEY_PREFIX) or token == joined.token:
            return
        try:
            joined.who, joined.token = self._identify(token), token
            await admission.authorize(self._shared.pool, joined)
        except admission.RefusedError as error:
            self._shut(joined, str(error))
            return
        self._expire_in_time(joined)
        if joined.bindings:
            await self._subscribe(joined)

    async def _broadcast(self, joined: channel.Channel, frame: phoenix.Received) -> None:
        if not (await self._may_write(joined)).broadcast:
            log.info("broadcast on private topic %s refused by policy", joined.name)
            if joined.config.ack:
                raise admission.RefusedError("Unauthorized: You may not send on this Channel topic")
            return
        sent = hub.Broadcast(
            name=joined.name,
            private=joined.config.private,
            event=str(frame.payload.get("event", "")),
            payload=json.dumps(frame.payload) if frame.raw is None else None,
            raw=frame.raw or b"",
        )
        self._hub.broadcast(sent, sender=joined)
        if joined.config.ack:
            self._reply(frame)

    async def _presence(self, joined: channel.Channel, frame: phoenix.Received) -> None:
        event = str(frame.payload.get("event", "")).lower()
        if event == "track":
            state = frame.payload.get("payload", {})
            if not isinstance(state, dict):
                raise admission.RefusedError("Presence track payload must be a map")
            if not (await self._may_write(joined)).presence:
                raise admission.RefusedError("Unauthorized: You may not track presence here")
            self._hub.track(joined, state)
        elif event == "untrack":
            self._hub.untrack(joined)
        else:
            raise admission.RefusedError(f"unknown presence event {event!r}")
        self._reply(frame)

    async def _may_write(self, joined: channel.Channel) -> authorization.Permissions:
        if joined.may_write is None:
            joined.may_write = await authorization.may_write(
                self._shared.pool, joined.who, joined.name
            )
        return joined.may_write

    def _token(self, frame: phoenix.Received) -> str:
        token = frame.payload.get("access_token") or frame.payload.get("user_token")
        if not isinstance(token, str) or token.startswith(KEY_PREFIX):
            return self._key_token
        return token

    def _identify(self, token: str) -> identity.Identity:
        try:
            return identity.of(self._shared.tokens.verify(token))
        except tokens.ExpiredTokenError as error:
            raise admission.RefusedError("InvalidJWTToken: Token has expired") from error
        except tokens.TokenError as error:
            raise admission.RefusedError(f"MalformedJWT: {error.message}") from error

    def _expire_in_time(self, joined: channel.Channel) -> None:
        """Arrange for the channel to end with its token."""
        if joined.expiry is not None:
            joined.expiry.cancel()
        delay = min(max(joined.who.lifetime_seconds, 0.0), MAX_TIMER_SECONDS)
        joined.expiry = asyncio.get_running_loop().call_later(
            delay, functools.partial(self._expire, joined)
        )

    def _expire(self, joined: channel.Channel) -> None:
        if joined.who.lifetime_seconds > 0:
            self._expire_in_time(joined)
        else:
            self._shut(joined, "InvalidJWTToken: Token has expired")

    def _shut(self, joined: channel.Channel, reason: str) -> None:
        if self._joined.get(joined.topic) is not joined:
            return  # it has gone, or a new join took its place, while the database was asked
        joined.push_system("system", reason, ok=False)
        self._drop(joined.topic)
        joined.push_close()

    def _drop(self, topic: str) -> None:
        joined = self._joined.pop(topic, None)
        if joined is not None:
            self._hub.remove(joined)
            if joined.expiry is not None:
                joined.expiry.cancel()

    def _reply(self, frame: phoenix.Received, response: dict[str, object] | None = None) -> None:
        self._outbox.put(phoenix.reply(frame, ok=True, response=response).encode(self._version))

    def _refuse(self, frame: phoenix.Received, reason: str) -> None:
        sent = phoenix.reply(frame, ok=False, response={"reason": reason})
        self._outbox.put(sent.encode(self._version))
