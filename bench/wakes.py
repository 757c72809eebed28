"""
How soon a listener learns of a task by Realtime, by webhooks and by the poll, each alone.

    python -m bench.wakes [--tasks 200] [--quick] [--json FILE]

Three listeners, one after another, each on an embedded platform of its own: Realtime without
webhooks; webhooks (sent by pg_net, signed in SQL) with Realtime off; and the poll with both off.
A task's wait is `started_at - created_at`, both of the database's clock; its source is what the
listener logged at the claim. Tasks come at random moments, and there is mostly room for them.
"""

import argparse
import asyncio
from dataclasses import dataclass
from pathlib import Path

from rich.table import Table

from bench import report
from bench.queue import pickup
from bench.queue.server import Connection, connected
from cli.local import free_port


GAP_SECONDS = 0.1
FAR_SECONDS = 30.0
"""The poll while another way is measured: it finds the tasks that way lost; they are counted."""

POLL_SECONDS = 2.0
LIMIT_MS = 100.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Way:
    """One way to learn of tasks, and the settings that leave it and the poll alone."""

    source: str
    poll_seconds: float
    realtime: str
    webhooks: bool


WAYS = (
    Way(source="hint", poll_seconds=FAR_SECONDS, realtime="on", webhooks=False),
    Way(source="webhook", poll_seconds=FAR_SECONDS, realtime="off", webhooks=True),
    Way(source="poll", poll_seconds=POLL_SECONDS, realtime="off", webhooks=False),
)


def main() -> int:
    """Measure, print, and return the exit code."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--tasks", type=int, default=200, help="for each of the three ways")
    parser.add_argument("--quick", action="store_true", help="40 tasks each, under a minute")
    parser.add_argument("--json", type=Path)
    asked = parser.parse_args()
    tasks = 40 if asked.quick else asked.tasks
    found = asyncio.run(_measure(tasks))
    return report.finish(
        "wakes",
        table=_table(found, tasks),
        targets=_targets(found, tasks),
        figures={
            "tasks": tasks,
            "poll_seconds": POLL_SECONDS,
            "ways": {way: pickup.figures(waits) for way, waits in found.items()},
        },
        to=asked.json,
    )


async def _measure(tasks: int) -> dict[str, pickup.Waits]:
    return {way.source: await _alone(way, tasks) for way in WAYS}


async def _alone(way: Way, tasks: int) -> pickup.Waits:
    async with pickup.platform() as local, connected(local.env["SUPABASE_DB_URL"]) as db:
        settings = {"LISTENER_REALTIME": way.realtime}
        if way.webhooks:
            settings |= await _webhooks(db)
        session = await pickup.signed_up(local)
        keys = await pickup.pictures(local, session, tasks + 1)
        async with pickup.client(local, await session.access_token()) as http:
            # The look at the start takes it, so that none of those that count is left to it.
            await pickup.submit(http, keys[:1], 0.001)
            await pickup.start_listener(local, poll_seconds=way.poll_seconds, **settings)
            await pickup.finished(db)
            await db.execute("select pg_sleep(1)")  # Realtime's join
            first = set(pickup.sources(local))
            await pickup.submit(http, keys[1:], GAP_SECONDS)
            await pickup.finished(db)
        sources = {
            task: "first" if task in first else source
            for task, source in pickup.sources(local).items()
        }
        waits = await pickup.waits_by_source(db, sources)
    del waits["first"]
    return waits


async def _webhooks(db: Connection) -> dict[str, str]:
    """Register a listener on a free port as a wake target; return the listener's settings."""
    port = free_port()
    cursor = await db.execute(
        "select public.register_wake_target('bench', %s)",
        [f"http://127.0.0.1:{port}/webhooks/supabase"],
    )
    [secret] = await cursor.fetchone() or [""]
    return {"LISTENER_WEBHOOK_PORT": str(port), "LISTENER_WEBHOOK_SECRETS": str(secret)}


def _targets(found: dict[str, pickup.Waits], tasks: int) -> list[report.Target]:
    return [
        report.Target(
            name="pick-up by webhooks alone, p50",
            measured=report.percentile(found["webhook"].get("webhook", [FAR_SECONDS * 1000]), 0.5),
            limit=LIMIT_MS,
            unit="ms",
        ),
        report.Target(
            name="tasks that no webhook brought, of those with webhooks alone",
            measured=len(found["webhook"].get("poll", [])),
            limit=0,
            unit="tasks",
        ),
        report.Target(
            name="tasks that the poll finished, with Realtime and webhooks off",
            measured=len(found["poll"].get("poll", [])),
            limit=tasks,
            unit="tasks",
            at_least=True,
        ),
    ]


def _table(found: dict[str, pickup.Waits], tasks: int) -> Table:
    table = Table(
        title=f"insert to claim in milliseconds, {tasks} tasks each; the poll every"
        f" {POLL_SECONDS:g} s alone, else every {FAR_SECONDS:g} s",
        title_justify="left",
    )
    table.add_column("what is on")
    table.add_column("claimed after a")
    for column in ("tasks", "p50", "p95", "p99"):
        table.add_column(column, justify="right")
    for way, waits in found.items():
        for source, numbers in pickup.figures(waits).items():
            shown = (f"{numbers[name]:.1f}" for name in ("p50", "p95", "p99"))
            table.add_row(way, source, f"{numbers['tasks']}", *shown)
    return table


if __name__ == "__main__":
    raise SystemExit(main())
