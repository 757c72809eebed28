"""The user's Realtime topic wakes the code that watches a task; a notice says "look again"."""

import asyncio
import contextlib
from collections.abc import Iterator
from uuid import UUID

from s3_sam3.contracts import notices
from s3_sam3.realtime import ChannelSettings, ChannelTimings, Notice, SupervisedChannel
from s3_sam3.session import Session


class Notices:
    """Joins the topic when it is first needed, and stays joined until `close`."""

    def __init__(self, session: Session, *, timings: ChannelTimings | None = None) -> None:
        settings = ChannelSettings(
            url=session.supabase_url,
            apikey=session.anon_key,
            topic=notices.user_topic(session.user_id),
            timings=timings or ChannelTimings(),
        )
        self._channel = SupervisedChannel(
            settings, session.access_token, on_notice=self._on_notice, on_live=self._wake_all
        )
        self._running: asyncio.Task[None] | None = None
        self._watchers: dict[UUID | None, set[asyncio.Event]] = {}
        self.live = self._channel.live
        """Set while the topic is joined; notices are lost while it is not."""

    @contextlib.contextmanager
    def of(self, task_id: UUID | None) -> Iterator[asyncio.Event]:
        """Give an event that is set by each notice about *task_id* (None: any) and by each join."""
        if self._running is None:
            self._running = asyncio.create_task(self._channel.run(), name="s3-notices")
        woken = asyncio.Event()
        self._watchers.setdefault(task_id, set()).add(woken)
        try:
            yield woken
        finally:
            self._watchers[task_id].discard(woken)
            if not self._watchers[task_id]:
                del self._watchers[task_id]

    async def close(self) -> None:
        await self._channel.close()
        self._running = None

    def _on_notice(self, notice: Notice) -> None:
        try:
            task_id = UUID(notice.payload["id"])
        except (AttributeError, KeyError, TypeError, ValueError):
            self._wake_all()  # unreadable, so it may be about any of them
            return
        for woken in (*self._watchers.get(task_id, ()), *self._watchers.get(None, ())):
            woken.set()

    def _wake_all(self) -> None:
        for watchers in self._watchers.values():
            for woken in watchers:
                woken.set()
