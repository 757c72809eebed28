"""What a run would do, before it does anything."""

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from yarl import URL

from webhooks.replay.faults import Shot
from webhooks.replay.lanes import Order, laned
from webhooks.replay.leaving_out import Why
from webhooks.replay.messages import Message


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """Counts, and how long it takes at least."""

    run: str
    source: str
    messages: int
    shots: int
    """To be sent now, doubles included."""
    left: int
    """Over --max: for a resumed run."""
    by_type: dict[str, dict[str, int]]
    """Messages by type and by how their last attempt went."""
    by_host: dict[str, int]
    by_signer: dict[str, int]
    """Messages by what signs them."""
    left_out: dict[str, int]
    """Messages that were selected and are not sent, by why."""
    gone: int
    """Messages of a resumed run that are no longer in the source."""
    first: datetime | None
    last: datetime | None
    seconds: float
    """It takes that at least: the rate, and the delays that were asked for."""
    forgotten: bool
    """Nobody will remember how it went: the outbox is not told, and nothing is recorded."""

    @property
    def all_left_out(self) -> bool:
        """Whether there was something to send, and none of it may be."""
        return bool(self.left_out) and not self.shots

    def document(self) -> dict[str, Any]:
        """As JSON."""
        return {
            "run": self.run,
            "source": self.source,
            "messages": self.messages,
            "shots": self.shots,
            "left": self.left,
            "by_type": self.by_type,
            "by_host": self.by_host,
            "by_signer": self.by_signer,
            "left_out": self.left_out,
            "gone": self.gone,
            "first": None if self.first is None else self.first.isoformat(),
            "last": None if self.last is None else self.last.isoformat(),
            "seconds": round(self.seconds, 1),
            "forgotten": self.forgotten,
        }


def planned(
    shots: Sequence[Shot],
    *,
    run: str,
    source: str,
    rate: float,
    concurrency: int,
    order: Order,
    forgotten: bool,
    left: int,
    gone: int,
    left_out: Mapping[Why, int],
    url_of: Callable[[Shot], URL],
    signer_of: Callable[[Message], str],
) -> Plan:
    """The plan of sending *shots* at *rate* per second."""
    messages = {shot.message.id: shot.message for shot in shots}.values()
    by_type: dict[str, Counter[str]] = {}
    for message in messages:
        by_type.setdefault(message.type, Counter())[message.standing] += 1
    moments = [message.created_at for message in messages]
    return Plan(
        run=run,
        source=source,
        messages=len(messages),
        shots=len(shots),
        left=left,
        by_type={name: dict(counts) for name, counts in sorted(by_type.items())},
        by_host=dict(Counter(str(url_of(shot).origin()) for shot in shots)),
        by_signer=dict(Counter(signer_of(message) for message in messages)),
        left_out={str(why): count for why, count in left_out.items()},
        gone=gone,
        first=min(moments, default=None),
        last=max(moments, default=None),
        seconds=max(len(shots) / rate, _delayed(shots, concurrency, order, url_of)),
        forgotten=forgotten,
    )


def _delayed(
    shots: Sequence[Shot], concurrency: int, order: Order, url_of: Callable[[Shot], URL]
) -> float:
    """Seconds that the delays take: so many at once, and one after the other in each lane."""
    lanes = laned(shots, order, lambda shot: str(url_of(shot).origin()))
    sums = [sum(each.delay_seconds for each in lane.shots if not each.dropped) for lane in lanes]
    return max(sum(sums) / concurrency, max(sums, default=0.0))
