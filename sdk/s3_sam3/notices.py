"""
The user's Realtime topic, kept joined.

A notice only says "look again", so anything doubtful (a lost socket, a new join) wakes everybody.
realtime-py 2.34.1 goes deaf for good after a long outage, after one exception in a callback and at
the end of the token, so nothing of it is repaired here: at the first trouble a new client is built.
"""

import asyncio
import contextlib
import random
from collections.abc import Iterator
from typing import Any
from uuid import UUID

import realtime
import structlog
from realtime import RealtimeSubscribeStates

from s3_sam3.contracts import notices
from s3_sam3.session import Session


log = structlog.get_logger(__name__)

JOIN_SECONDS = 10.0
TOKEN_CHECK_SECONDS = 20.0
FIRST_PAUSE_SECONDS = 0.5
LONGEST_PAUSE_SECONDS = 15.0


class Notices:
    """Wakes whoever watches a task when the database says that it moved."""

    def __init__(self, session: Session) -> None:
        self._session = session
        self._watchers: dict[UUID | None, set[asyncio.Event]] = {}
        self._life: asyncio.Task[None] | None = None
        self.live = asyncio.Event()
        """Set while the topic is joined."""

    @contextlib.contextmanager
    def of(self, task_id: UUID | None) -> Iterator[asyncio.Event]:
        """An event set at each notice about *task_id* (None: any task), and at each new join."""
        if self._life is None:
            self._life = asyncio.create_task(self._stay_joined(), name="s3-notices")
        woken = asyncio.Event()
        self._watchers.setdefault(task_id, set()).add(woken)
        try:
            yield woken
        finally:
            self._watchers[task_id].discard(woken)
            if not self._watchers[task_id]:
                del self._watchers[task_id]

    async def close(self) -> None:
        """Leave the topic."""
        if self._life is not None:
            self._life.cancel()
            await asyncio.gather(self._life, return_exceptions=True)
            self._life = None

    async def _stay_joined(self) -> None:
        pause = FIRST_PAUSE_SECONDS
        while True:
            try:
                await self._one_connection()
                pause = FIRST_PAUSE_SECONDS
            except Exception as error:  # noqa: BLE001 - whatever broke, the answer is a new client
                log.debug("notices_interrupted", reason=repr(error))
            self.live.clear()
            await asyncio.sleep(pause * random.uniform(0.5, 1.5))  # noqa: S311 - jitter
            pause = min(pause * 2, LONGEST_PAUSE_SECONDS)

    async def _one_connection(self) -> None:
        """Join, and return when anything suggests that the connection is no longer good."""
        trouble = asyncio.Event()
        client = realtime.AsyncRealtimeClient(
            f"{self._session.supabase_url}/realtime/v1",
            self._session.anon_key,
            auto_reconnect=False,
        )
        try:
            async with asyncio.timeout(JOIN_SECONDS):
                await self._join(client, trouble)
            await self._guard(client, trouble)
        finally:
            with contextlib.suppress(Exception):
                await client.close()

    async def _join(self, client: realtime.AsyncRealtimeClient, trouble: asyncio.Event) -> None:
        token = await self._session.access_token()
        await client.connect()
        await client.set_auth(token)
        topic = notices.user_topic(self._session.user_id)
        channel = client.channel(
            topic,
            {
                "config": {
                    "private": True,
                    "broadcast": {"ack": False, "self": False},
                    "presence": {"key": "", "enabled": False},
                }
            },
        )
        channel.on_broadcast(notices.TASK_CHANGED, self._on_notice)
        await channel.subscribe(lambda state, _error: _tell(state, trouble))
        if channel.is_joined:
            self.live.set()
            self._wake_all()

    async def _guard(self, client: realtime.AsyncRealtimeClient, trouble: asyncio.Event) -> None:
        token = await self._session.access_token()
        # The listen task dies silently in more ways than the client reports.
        listening = client._listen_task  # noqa: SLF001 - there is no public way to see it end
        if listening is None:
            return
        troubled = asyncio.create_task(trouble.wait())
        try:
            while not (troubled.done() or listening.done()):
                await asyncio.wait(
                    {troubled, listening},
                    timeout=TOKEN_CHECK_SECONDS,
                    return_when=asyncio.FIRST_COMPLETED,
                )
                if (fresh := await self._session.access_token()) != token:
                    token = fresh
                    await client.set_auth(token)
        finally:
            troubled.cancel()

    def _on_notice(self, message: Any) -> None:
        # An exception in here would make the client deaf for good.
        try:
            task_id = UUID(message["payload"]["id"])
        except (KeyError, TypeError, ValueError):
            self._wake_all()
            return
        for woken in (*self._watchers.get(task_id, ()), *self._watchers.get(None, ())):
            woken.set()

    def _wake_all(self) -> None:
        for watchers in self._watchers.values():
            for woken in watchers:
                woken.set()


def _tell(state: RealtimeSubscribeStates, trouble: asyncio.Event) -> None:
    if state is not RealtimeSubscribeStates.SUBSCRIBED:
        trouble.set()
