"""What is to be sent, with faults on purpose; which send is next; what came of each."""

import random
from collections import Counter, deque
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from enum import StrEnum

from yarl import URL

from s3_sam3.messages import Attempt, Message


@dataclass(frozen=True, slots=True, kw_only=True)
class Send:
    message: Message
    copy: int = 0
    """0 is the message itself, 1 its duplicate."""
    dropped: bool = False
    """Not sent, as if the network had lost it."""
    truncated: bool = False
    """Half of the body is sent, with the signature of the whole."""
    delay_seconds: float = 0.0

    @property
    def name(self) -> str:
        """Its name in the checkpoint."""
        return f"{self.message.id}#{self.copy}"

    @property
    def body(self) -> bytes:
        whole = self.message.body
        return whole[: len(whole) // 2] if self.truncated else whole


@dataclass(frozen=True, slots=True, kw_only=True)
class Faults:
    """
    What networks and queues do to messages, to test receivers; probabilities from 0 to 1.

    The run's id and the message's id seed the dice, so a resumed run has the same faults.
    """

    dup: float = 0.0
    drop: float = 0.0
    truncate: float = 0.0
    delay_seconds: tuple[float, float] = (0.0, 0.0)
    shuffle: bool = False

    def sends(self, messages: Iterable[Message], run: str) -> list[Send]:
        found = [send for message in messages for send in self._of(message, run)]
        if self.shuffle:
            random.Random(run).shuffle(found)  # noqa: S311 - disorder, no secret
        return found

    def _of(self, message: Message, run: str) -> list[Send]:
        dice = random.Random(f"{run}/{message.id}")  # noqa: S311 - disorder, no secret
        copies = 2 if dice.random() < self.dup else 1
        return [
            Send(
                message=message,
                copy=copy,
                dropped=dice.random() < self.drop,
                truncated=dice.random() < self.truncate,
                delay_seconds=dice.uniform(*self.delay_seconds),
            )
            for copy in range(copies)
        ]


class Ending(StrEnum):
    OK = "ok"
    FAILED = "failed"
    AGAIN = "again"
    """The receiver asked to come again later: this send failed, and another one follows."""
    DROPPED = "dropped"
    SKIPPED = "skipped"
    """Not sent; a resumed run sends it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    send: Send
    sent_id: str
    url: URL
    ending: Ending
    attempt: Attempt | None = None
    why: str | None = None
    """Why it was skipped."""


class Order(StrEnum):
    KEY = "key"
    """Messages of one task are sent one after the other, and not past one that failed."""
    NONE = "none"


@dataclass(kw_only=True, eq=False, slots=True)
class TaskQueue:
    """Sends to one host that must follow each other: those of one task, or a single one."""

    host: str
    sends: deque[Send]
    tries: int = 0
    """Sends of the first one so far."""
    delayed: bool = False
    """The first one has waited for its own delay already."""

    def pop(self) -> None:
        self.sends.popleft()
        self.tries, self.delayed = 0, False


class HostQueues:
    """
    All sends of a run, host by host.

    A host that asked for time is passed over. Of the others, the one with the fewest open requests
    is next, so a slow host does not get all of them. Times are the caller's, in seconds of one
    clock.
    """

    def __init__(
        self, sends: Iterable[Send], *, order: Order, host_of: Callable[[Send], str]
    ) -> None:
        self._ready: dict[str, deque[TaskQueue]] = {}
        self._busy: Counter[str] = Counter()
        self._held: dict[str, float] = {}
        self._given_up: set[str] = set()
        self._last_taken: Counter[str] = Counter()
        self._taken = 0
        for queue in task_queues(sends, order, host_of):
            self._ready.setdefault(queue.host, deque()).append(queue)

    @property
    def busy(self) -> int:
        return self._busy.total()

    @property
    def empty(self) -> bool:
        """Whether nothing is left to take, unless a taken queue is given back."""
        return not any(self._ready.values())

    def may_send(self, host: str, now: float) -> bool:
        return host not in self._given_up and self._held.get(host, 0.0) <= now

    def can_take(self, now: float) -> bool:
        return any(ready and self.may_send(host, now) for host, ready in self._ready.items())

    def take(self, now: float) -> TaskQueue | None:
        """The queue whose first send is next, until it is given back; None: none is ready."""
        hosts = [host for host, ready in self._ready.items() if ready and self.may_send(host, now)]
        if not hosts:
            return None
        host = min(hosts, key=lambda each: (self._busy[each], self._last_taken[each]))
        self._taken += 1
        self._last_taken[host] = self._taken
        self._busy[host] += 1
        return self._ready[host].popleft()

    def give_back(self, queue: TaskQueue) -> list[Send]:
        """Return *queue*; the sends that will not happen because its host was given up."""
        self._busy[queue.host] -= 1
        if queue.host in self._given_up:
            return list(queue.sends)
        if queue.sends:
            self._ready[queue.host].appendleft(queue)
        return []

    def hold(self, host: str, until: float) -> None:
        """Send nothing to *host* before then."""
        self._held[host] = max(until, self._held.get(host, 0.0))

    def next_at(self) -> float | None:
        """When the first held host may be sent to again; None: no host is waited for."""
        return min(
            (self._held.get(h, 0.0) for h, ready in self._ready.items() if ready), default=None
        )

    def give_up(self, host: str) -> list[Send]:
        """Send nothing more to *host*; the sends that were waiting for it."""
        self._given_up.add(host)
        return [send for queue in self._ready.pop(host, ()) for send in queue.sends]

    def give_up_all(self) -> list[Send]:
        """Give up every host; the sends that were waiting."""
        return [send for host in tuple(self._ready) for send in self.give_up(host)]


def task_queues(
    sends: Iterable[Send], order: Order, host_of: Callable[[Send], str]
) -> Iterable[TaskQueue]:
    """The sends that must follow each other, queue by queue, in the order of their first ones."""
    found: dict[tuple[str, str], TaskQueue] = {}
    for send in sends:
        host = host_of(send)
        name = send.message.key if order is Order.KEY else send.name
        queue = found.setdefault((host, name), TaskQueue(host=host, sends=deque()))
        queue.sends.append(send)
    return found.values()
