"""What makes the listener look at the queue: many hints become one look."""

import asyncio
from enum import StrEnum

from adapters import machine_auth
from s3_sam3 import realtime
from s3_sam3.contracts import notices


class WakeSource(StrEnum):
    """What made the listener look; the label of `claims_by_source`."""

    HINT = "hint"
    WEBHOOK = "webhook"
    POLL = "poll"


class Wake:
    """
    Turns any number of hints into at most one pending look at the queue.

    A hint says only that something may have changed; what there is to do is asked of the
    database. Losing or doubling hints is therefore harmless. A hint that comes during a look
    leads to another look.
    """

    def __init__(self) -> None:
        self._pending = asyncio.Event()
        self._source = WakeSource.POLL

    def hint(self, source: WakeSource) -> None:
        """Ask for a look. A pending look keeps the source that asked first."""
        if not self._pending.is_set():
            self._source = source
            self._pending.set()

    async def wait(self) -> WakeSource:
        """Wait for a hint; answers the source of the first one since the last look."""
        await self._pending.wait()
        self._pending.clear()
        return self._source


def hint_channel(
    wake: Wake, tokens: machine_auth.MachineTokens, *, url: str, apikey: str
) -> realtime.SupervisedChannel:
    """
    The workers' Realtime topic: a notice of a pending task is a hint.

    A (re)join counts as a poll, since hints before it were lost.
    """

    def noticed(notice: realtime.Notice) -> None:
        if notice.event == notices.TASK_PENDING:
            wake.hint(WakeSource.HINT)

    return realtime.SupervisedChannel(
        realtime.ChannelSettings(url=url, apikey=apikey, topic=notices.WORKERS_TOPIC),
        tokens.token,
        on_notice=noticed,
        on_live=lambda: wake.hint(WakeSource.POLL),
    )
