"""
What a claim costs from a thousand pending rows to a million, or finished ones on its pictures.

One database per size, all on one server, and the claims go round them in turns: a slow second of
the machine hits every size alike. Nothing is completed, so pictures in work pile up as they do
when the machines are many; what was claimed is put back as new rows, outside the clock.

Beside the time stands the CPU time of the server's process: other programs do not add to it, so on
a busy machine it tells growth from noise.
"""

import itertools
import random
import time
from collections.abc import Awaitable, Callable, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass
from pathlib import Path

from rich.table import Table

from bench import report
from bench.queue import contenders, filling
from bench.queue.server import Connection, Server, connected


BATCHES = (1, 10)
WARM_UP_CLAIMS = 8
"""psycopg prepares a statement at its sixth use, plpgsql settles on a plan by then."""

CLAIMS_BETWEEN_REFILLS = 10

KNOWN_PICTURES = 200
"""More than are claimed between two refills, so that each waits once at most."""

OTHER_BACKEND = (
    "select pid from pg_stat_activity where datname = current_database()"
    " and pid <> pg_backend_pid() and backend_type = 'client backend'"
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Cost:
    """Some claims of one size, one after the other."""

    milliseconds: list[float]
    """Of each."""
    cpu: float
    """The server process's milliseconds per claim, on average."""


Costs = dict[str, dict[int, dict[int, list[Cost]]]]
"""Scenario, batch, size."""


async def one_user(db: Connection, size: int) -> filling.Crowd:
    """All of it is one user's, who has no cap."""
    who = await filling.crowd(db, users=1, tier="internal")
    await filling.queue(db, who, size)
    return who


async def many_users(db: Connection, size: int) -> filling.Crowd:
    """200 users' tasks in turns, so that each of a batch is another user's."""
    who = await filling.crowd(db, users=200, tier="pro")
    await filling.queue(db, who, size)
    return who


async def capped_front(db: Connection, size: int) -> filling.Crowd:
    """200 users; the 100 at the front have as many pictures in work as they may, the rest none."""
    front = await filling.crowd(db, users=100, tier="free")
    behind = await filling.crowd(db, users=100, tier="pro")
    await filling.queue(db, front, size // 2)
    # Virtual time moved on since the front's tasks came.
    await db.execute(
        "insert into segmentation.fair_clocks (user_id, kind, finish)"
        " select id, 'image', 100000000000 from unnest(%s::uuid[]) as id",
        [list(behind.ids)],
    )
    await filling.queue(db, behind, size // 2)
    await filling.keep_busy(db, front)
    return behind


async def known_pictures(db: Connection, size: int) -> filling.Crowd:
    """200 pictures wait, and it is the finished tasks on the same pictures that grow in number."""
    who = await filling.crowd(db, users=1, tier="internal")
    await filling.queue(db, who, KNOWN_PICTURES)
    await filling.finish_before(db, size // KNOWN_PICTURES)
    return who


SCENARIOS: dict[str, Callable[[Connection, int], Awaitable[filling.Crowd]]] = {
    "one user": one_user,
    "200 users": many_users,
    "100 capped users in front of 100": capped_front,
    "pictures done so often before": known_pictures,
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """A database with a number of rows pending, and a worker at it."""

    size: int
    db: Connection
    who: filling.Crowd
    """Whose tasks are claimed, and so put back."""
    queue: contenders.Contender
    known: bool
    """Whether the same pictures are put back."""
    pid: int
    """The server process behind *queue*."""

    def cpu(self) -> float:
        """Milliseconds that the server process has run."""
        nanoseconds = Path(f"/proc/{self.pid}/schedstat").read_text().split()[0]
        return int(nanoseconds) / 1e6


async def measure(server: Server, *, sizes: Sequence[int], claims: dict[int, int]) -> Costs:
    """Time *claims* (batch to number) at each of *sizes*, in each scenario."""
    times: Costs = {}
    for scenario, fill in SCENARIOS.items():
        times[scenario] = {batch: {size: [] for size in sizes} for batch in claims}
        async with AsyncExitStack() as stack:
            places = [await _place(server, size, fill, stack) for size in sizes]
            for batch, number in claims.items():
                await _claim(places, batch, WARM_UP_CLAIMS)
                for _ in range(0, number, CLAIMS_BETWEEN_REFILLS):
                    taken = await _claim(places, batch, CLAIMS_BETWEEN_REFILLS)
                    for size, cost in taken.items():
                        times[scenario][batch][size].append(cost)
        for size in sizes:
            await server.drop(f"growth_{size}")
    return times


async def _place(
    server: Server,
    size: int,
    fill: Callable[[Connection, int], Awaitable[filling.Crowd]],
    stack: AsyncExitStack,
) -> Place:
    dsn = await server.copy(f"growth_{size}")
    db = await stack.enter_async_context(connected(dsn))
    who = await fill(db, size)
    await filling.settle_down(db)
    queue = await stack.enter_async_context(contenders.ours(dsn, 1, lean=True))
    row = await (await db.execute(OTHER_BACKEND)).fetchone()
    assert row is not None
    known = fill is known_pictures
    return Place(size=size, db=db, who=who, queue=queue, known=known, pid=row[0])


async def _claim(places: list[Place], batch: int, number: int) -> dict[int, Cost]:
    """*number* claims at each place, shuffled again in each round; the costs by size."""
    times: dict[int, list[float]] = {place.size: [] for place in places}
    taken: dict[int, list[str]] = {place.size: [] for place in places}
    before = {place.size: place.cpu() for place in places}
    for _ in range(number):
        for place in random.sample(places, len(places)):
            begun = time.perf_counter()
            claimed = await place.queue.claim(batch)
            times[place.size].append((time.perf_counter() - begun) * 1000)
            taken[place.size] += [str(job["id"]) for job in claimed]
            if len(claimed) != batch:
                msg = f"{len(claimed)} of {batch} claimed at {place.size} pending"
                raise RuntimeError(msg)
    costs = {
        place.size: Cost(
            milliseconds=times[place.size], cpu=(place.cpu() - before[place.size]) / number
        )
        for place in places
    }
    for place in places:
        if place.known:
            await filling.queue_again(place.db, taken[place.size])
        else:
            await filling.queue(place.db, place.who, batch * number)
    return costs


def _p50(costs: list[Cost]) -> float:
    return report.percentile([one for cost in costs for one in cost.milliseconds], 0.5)


def _cpu(costs: list[Cost]) -> float:
    return report.percentile([cost.cpu for cost in costs], 0.5)


def growth(by_size: dict[int, list[Cost]], measure: Callable[[list[Cost]], float] = _p50) -> float:
    """Largest p50 over that of the smallest size."""
    middles = [measure(costs) for _, costs in sorted(by_size.items())]
    return max(middles) / middles[0]


def targets(times: Costs) -> list[report.Target]:
    """Flat within 1.5 times, each scenario and batch."""
    return [
        report.Target(
            name=f"claim of {batch}, {scenario}: growth of the p50",
            measured=growth(by_size),
            limit=1.5,
            unit="x",
        )
        for scenario, batches in times.items()
        for batch, by_size in batches.items()
    ]


def figures(times: Costs) -> dict[str, object]:
    """What the JSON keeps: milliseconds."""
    return {
        scenario: {
            f"claim of {batch}": {
                "growth": round(growth(by_size), 3),
                "growth_cpu": round(growth(by_size, _cpu), 3),
                **{
                    str(size): {"p50": round(_p50(costs), 3), "cpu": round(_cpu(costs), 3)}
                    for size, costs in by_size.items()
                },
            }
            for batch, by_size in batches.items()
        }
        for scenario, batches in times.items()
    }


def table(times: Costs) -> Table:
    """One line per scenario and batch."""
    sizes = sorted({size for batches in times.values() for size in next(iter(batches.values()))})
    shown = Table(title="a claim's p50 (server's CPU) in ms, by rows", title_justify="left")
    shown.add_column("waiting")
    shown.add_column("of", justify="right")
    for size in sizes:
        shown.add_column(f"{size:,}", justify="right")
    shown.add_column("growth", justify="right")
    for (scenario, batches), batch in itertools.product(times.items(), BATCHES):
        by_size = batches[batch]
        shown.add_row(
            scenario,
            str(batch),
            *(f"{_p50(by_size[size]):.1f} ({_cpu(by_size[size]):.1f})" for size in sizes),
            f"{growth(by_size):.2f} ({growth(by_size, _cpu):.2f})",
        )
    return shown
