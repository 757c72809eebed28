"""Which send is next, so that no host holds up another."""

from collections import Counter, deque
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from enum import StrEnum

from webhooks.replay.sends import Send


class Order(StrEnum):
    """What must stay in order."""

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
        """Remove the first one."""
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
        """How many queues are taken."""
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
