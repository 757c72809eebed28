"""Who is sent to next, so that no host stands in another's way."""

from collections import Counter, deque
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from enum import StrEnum

from webhooks.replay.faults import Shot


class Order(StrEnum):
    """What must not overtake."""

    KEY = "key"
    """Messages of one task are sent one after the other, and not past one that failed."""
    NONE = "none"


@dataclass(kw_only=True, eq=False, slots=True)
class Lane:
    """Shots to one host that must follow each other."""

    host: str
    shots: deque[Shot]
    tries: int = 0
    """Sends of the first one so far."""
    delayed: bool = False
    """The first one has been held back by its own delay already."""

    def pop(self) -> None:
        """Be done with the first one."""
        self.shots.popleft()
        self.tries, self.delayed = 0, False


class Lanes:
    """
    All shots of a run, host by host.

    A host that asked to be left alone is passed over. Of the others the one with the fewest open
    requests is next, so that one which answers slowly does not get hold of all of them. Times are
    the caller's, in seconds of one clock.
    """

    def __init__(
        self, shots: Iterable[Shot], *, order: Order, host_of: Callable[[Shot], str]
    ) -> None:
        self._ready: dict[str, deque[Lane]] = {}
        self._busy: Counter[str] = Counter()
        self._held: dict[str, float] = {}
        self._given_up: set[str] = set()
        self._last_taken: Counter[str] = Counter()
        self._taken = 0
        for lane in laned(shots, order, host_of):
            self._ready.setdefault(lane.host, deque()).append(lane)

    @property
    def busy(self) -> int:
        """How many lanes are taken."""
        return self._busy.total()

    @property
    def empty(self) -> bool:
        """Whether no lane is left to be taken, also later, unless one that is taken comes back."""
        return not any(self._ready.values())

    def may(self, host: str, now: float) -> bool:
        """Whether *host* may be sent to."""
        return host not in self._given_up and self._held.get(host, 0.0) <= now

    def some(self, now: float) -> bool:
        """Whether a lane can be taken."""
        return any(ready and self.may(host, now) for host, ready in self._ready.items())

    def take(self, now: float) -> Lane | None:
        """The lane whose first shot is next, until it is given back; None: none is possible now."""
        hosts = [host for host, ready in self._ready.items() if ready and self.may(host, now)]
        if not hosts:
            return None
        host = min(hosts, key=lambda each: (self._busy[each], self._last_taken[each]))
        self._taken += 1
        self._last_taken[host] = self._taken
        self._busy[host] += 1
        return self._ready[host].popleft()

    def give_back(self, lane: Lane) -> list[Shot]:
        """Let go of *lane*; the shots that nobody will send, because its host was given up."""
        self._busy[lane.host] -= 1
        if lane.host in self._given_up:
            return list(lane.shots)
        if lane.shots:
            self._ready[lane.host].appendleft(lane)
        return []

    def hold(self, host: str, until: float) -> None:
        """Send nothing to *host* before then."""
        self._held[host] = max(until, self._held.get(host, 0.0))

    def next_at(self) -> float | None:
        """When the first held host may be sent to again; None: none is waited for."""
        return min(
            (self._held.get(h, 0.0) for h, lanes in self._ready.items() if lanes), default=None
        )

    def give_up(self, host: str) -> list[Shot]:
        """Send nothing more to *host*; the shots that were waiting for it."""
        self._given_up.add(host)
        return [shot for lane in self._ready.pop(host, ()) for shot in lane.shots]

    def rest(self) -> list[Shot]:
        """Give everything up; the shots that were waiting."""
        return [shot for host in tuple(self._ready) for shot in self.give_up(host)]


def laned(shots: Iterable[Shot], order: Order, host_of: Callable[[Shot], str]) -> Iterable[Lane]:
    """The shots that must follow each other, lane by lane, in the order of their first ones."""
    found: dict[tuple[str, str], Lane] = {}
    for shot in shots:
        host = host_of(shot)
        name = shot.message.key if order is Order.KEY else shot.name
        lane = found.setdefault((host, name), Lane(host=host, shots=deque()))
        lane.shots.append(shot)
    return found.values()
