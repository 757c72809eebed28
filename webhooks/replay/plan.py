"""What a run would do, counted before it does anything."""

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime

from pydantic import BaseModel, ConfigDict
from yarl import URL

from webhooks.replay.options import OUTBOX, Options
from webhooks.replay.queues import task_queues
from webhooks.replay.sends import Send
from webhooks.replay.signing import Signer
from webhooks.replay.targets import Exclusion


class Plan(BaseModel):
    """Counts, and the least time that the run takes."""

    model_config = ConfigDict(frozen=True)

    run: str
    source: str
    messages: int
    sends: int
    """To be made now, duplicates included."""
    left: int
    """Sends over --max, for a resumed run."""
    by_type: dict[str, dict[str, int]]
    """Messages by type and by the state of their last attempt."""
    by_host: dict[str, int]
    by_signer: dict[str, int]
    """Messages by what signs them."""
    excluded: dict[Exclusion, int]
    """Messages that were selected and are not sent, by the reason."""
    gone: int
    """Messages of a resumed run that are no longer in the source."""
    first: datetime | None
    last: datetime | None
    seconds: float
    """At least, by the rate and the requested delays."""
    forgotten: bool
    """No file will know the outcome: the outbox is not told, and nothing is recorded."""

    @property
    def all_excluded(self) -> bool:
        """Whether there is something to send, and none of it may be sent."""
        return bool(self.excluded) and not self.sends


def planned(
    sends: Sequence[Send],
    options: Options,
    signer: Signer,
    url_of: Callable[[Send], URL],
    *,
    left: int,
    gone: int,
    excluded: Mapping[Exclusion, int],
) -> Plan:
    """Count *sends*."""
    messages = {send.message.id: send.message for send in sends}.values()
    by_type: dict[str, Counter[str]] = {}
    for message in messages:
        by_type.setdefault(message.type, Counter())[message.state] += 1
    times = [message.created_at for message in messages]
    seconds = max(len(sends) / options.rate, _delays(sends, options, url_of))
    return Plan(
        run=signer.run,
        source=options.source,
        messages=len(messages),
        sends=len(sends),
        left=left,
        by_type={name: dict(counts) for name, counts in sorted(by_type.items())},
        by_host=dict(Counter(str(url_of(send).origin()) for send in sends)),
        by_signer=dict(Counter(signer.describe(message) for message in messages)),
        excluded=dict(excluded),
        gone=gone,
        first=min(times, default=None),
        last=max(times, default=None),
        seconds=round(seconds, 1),
        forgotten=options.source == OUTBOX and not options.record,
    )


def _delays(sends: Sequence[Send], options: Options, url_of: Callable[[Send], URL]) -> float:
    """Seconds of delay: --concurrency of them at once, one after the other in each queue."""
    queues = task_queues(sends, options.order, lambda send: str(url_of(send).origin()))
    sums = [sum(each.delay_seconds for each in queue.sends if not each.dropped) for queue in queues]
    return max(sum(sums) / options.concurrency, max(sums, default=0.0))
