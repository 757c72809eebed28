"""
Claims and completions per second, WAL and dead rows per job: ours against Procrastinate.

Both on one server, each in a database of its own, in turns, round after round. A round drains some
jobs with as many workers as connections: claim, complete what was claimed, claim again. The rows
it took are put back before the next one, and both databases are vacuumed, outside the clock.
"""

import asyncio
import time
from collections.abc import Awaitable, Callable
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, field

from bench.queue import contenders, filling
from bench.queue.server import Connection, Server, connected


CONNECTIONS = 4
BATCH = 10
USERS = 50

WARM_UP_JOBS = 40
"""Plans and caches of fresh connections; before the clock, but in WAL and dead rows."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Lap:
    """One round of one entry."""

    jobs: int
    seconds: float
    claim_seconds: float
    """Inside calls that claim, of all workers together; WAL and rows are the round's, too."""
    complete_seconds: float
    wal_bytes: int
    updated: int
    hot: int
    dead: int

    @property
    def jobs_per_second(self) -> float:
        """Claimed and completed."""
        return self.jobs / self.seconds

    @property
    def claims_per_second(self) -> float:
        """What these connections could claim if they did nothing else."""
        return self.jobs * CONNECTIONS / self.claim_seconds

    @property
    def completions_per_second(self) -> float:
        """What these connections could complete if they did nothing else."""
        return self.jobs * CONNECTIONS / self.complete_seconds


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """A queue, used in one way."""

    name: str
    dsn: str
    batch: int
    opened: Callable[[], AbstractAsyncContextManager[contenders.Contender]]
    fill: Callable[[Connection, int], Awaitable[None]]
    laps: list[Lap] = field(default_factory=list)


async def measure(server: Server, *, depth: int, jobs: int, rounds: int) -> list[Entry]:
    """Run *rounds* rounds of *jobs* jobs at *depth* pending rows; the entries with their laps."""
    entries = await _entries(server, depth)
    for number in range(rounds):
        # Turned round each time, so that neither side always follows the other.
        for entry in entries if number % 2 == 0 else reversed(entries):
            entry.laps.append(await _round(entry, jobs))
    for entry in entries:
        await _check(entry)
    return entries


async def _entries(server: Server, depth: int) -> list[Entry]:
    ours = await server.copy("ours")
    async with connected(ours) as db:
        who = await filling.crowd(db, users=USERS, tier="pro")
        await contenders.fill_ours(db, who, depth)
        await filling.settle_down(db)
    theirs = await server.copy("theirs")
    await contenders.install(theirs)
    async with connected(theirs) as db:
        await contenders.fill_theirs(db, depth)
        await filling.settle_down(db)

    def entry(name: str, batch: int, *, lean: bool) -> Entry:
        mine = not name.startswith("procrastinate")
        dsn, contend = (ours, contenders.ours) if mine else (theirs, contenders.theirs)
        return Entry(
            name=name,
            dsn=dsn,
            batch=batch,
            opened=lambda: contend(dsn, CONNECTIONS, lean=lean),
            fill=(lambda db, count: contenders.fill_ours(db, who, count))
            if mine
            else contenders.fill_theirs,
        )

    return [
        entry("ours, by ten", BATCH, lean=False),
        entry("procrastinate", 1, lean=False),
        entry("ours, one by one", 1, lean=False),
        entry("ours, by ten, lean", BATCH, lean=True),
        entry("procrastinate, lean", 1, lean=True),
    ]


async def _round(entry: Entry, jobs: int) -> Lap:
    async with connected(entry.dsn) as db:
        wal, rows = await _wal(db), await _rows(db)
        async with entry.opened() as contender:
            await _drain(contender, WARM_UP_JOBS, entry.batch)
            begun = time.perf_counter()
            claiming, completing = await _drain(contender, jobs, entry.batch)
            seconds = time.perf_counter() - begun
        await _alone(db)
        written = await _wal(db) - wal
        updated, hot, dead = (
            after - before for after, before in zip(await _rows(db), rows, strict=True)
        )
        await entry.fill(db, jobs + WARM_UP_JOBS)
        await filling.settle_down(db)
    return Lap(
        jobs=jobs,
        seconds=seconds,
        claim_seconds=claiming,
        complete_seconds=completing,
        wal_bytes=written // (jobs + WARM_UP_JOBS),
        updated=updated,
        hot=hot,
        dead=dead,
    )


async def _drain(contender: contenders.Contender, jobs: int, batch: int) -> tuple[float, float]:
    """Claim and complete *jobs* jobs; the seconds inside each kind of call, summed over workers."""
    left = jobs
    claiming = completing = 0.0

    async def work() -> None:
        nonlocal left, claiming, completing
        while left > 0:
            asked = min(batch, left)
            left -= asked
            begun = time.perf_counter()
            claimed = await contender.claim(asked)
            between = time.perf_counter()
            for job in claimed:
                await contender.complete(job)
            claiming += between - begun
            completing += time.perf_counter() - between
            if len(claimed) != asked:
                msg = f"{len(claimed)} claimed where {asked} were asked for and more wait"
                raise RuntimeError(msg)

    async with asyncio.TaskGroup() as workers:
        for _ in range(CONNECTIONS):
            workers.create_task(work())
    return claiming, completing


async def _wal(db: Connection) -> int:
    row = await (await db.execute("select pg_current_wal_lsn() - '0/0'")).fetchone()
    assert row is not None
    return int(row[0])


async def _rows(db: Connection) -> tuple[int, int, int]:
    """Updates and deletions so far, those of them that touched no index, and dead rows now."""
    row = await (
        await db.execute(
            "select sum(n_tup_upd + n_tup_del), sum(n_tup_hot_upd), sum(n_dead_tup)"
            " from pg_stat_user_tables"
        )
    ).fetchone()
    assert row is not None
    return int(row[0]), int(row[1]), int(row[2])


async def _alone(db: Connection) -> None:
    """Wait until the round's sessions have ended, which is when they have told their statistics."""
    query = (
        "select count(*) from pg_stat_activity where datname = current_database()"
        " and pid <> pg_backend_pid() and backend_type = 'client backend'"
    )
    while (await (await db.execute(query)).fetchone()) != (0,):  # noqa: ASYNC110  PostgreSQL sets no event
        await asyncio.sleep(0.01)


async def _check(entry: Entry) -> None:
    """Every completion of ours wrote its ledger row. Raises RuntimeError if work was skipped."""
    if entry.name.startswith("procrastinate"):
        return
    async with connected(entry.dsn) as db:
        row = await (
            await db.execute(
                "select (select count(*) from public.segmentation_results where status = 'done'),"
                " (select count(*) from public.usage_logs where action = 'capture')"
            )
        ).fetchone()
    if row is None or row[0] != row[1]:
        msg = f"done and captured differ: {row}"
        raise RuntimeError(msg)
