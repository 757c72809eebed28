"""Realtime's notices, each a hint to look."""

from adapters import machine_auth
from listener.wake import Wake, WakeSource
from s3_sam3 import realtime
from s3_sam3.contracts import notices


def hint_channel(
    wake: Wake, tokens: machine_auth.MachineTokens, *, url: str, apikey: str
) -> realtime.SupervisedChannel:
    """The workers' topic: a pending task is a hint; a (re)join is a poll, for hints lost before."""

    def noticed(notice: realtime.Notice) -> None:
        if notice.event == notices.TASK_PENDING:
            wake.hint(WakeSource.HINT)

    return realtime.SupervisedChannel(
        realtime.ChannelSettings(url=url, apikey=apikey, topic=notices.WORKERS_TOPIC),
        tokens.token,
        on_notice=noticed,
        on_live=lambda: wake.hint(WakeSource.POLL),
    )
