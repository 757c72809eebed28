"""
Two queues behind one interface, both through Procrastinate's own psycopg connector.

`pooled` is what `PsycopgConnector` makes of a DSN: each call checks its connection, begins,
executes and commits. `lean` is one round trip a call: no check, autocommit.
"""

import uuid
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, Protocol

import procrastinate
import psycopg_pool
from procrastinate import jobs, manager

from bench.queue import filling
from bench.queue.server import Connection, connected


class Contender(Protocol):
    """A queue that one worker process holds open."""

    async def claim(self, limit: int) -> list[Any]:
        """At most *limit* jobs, now ours."""

    async def complete(self, job: Any) -> None:
        """Settle *job* as done."""


CLAIM = "select * from public.claim_tasks(%(worker)s, %(limit)s, 30, 300, %(capabilities)s)"
COMPLETE = (
    "select public.complete_task(%(token)s, %(prefix)s || 'manifest.json',"
    " %(prefix)s || 'mask.png', %(prefix)s || 'overlay.webp', 1, %(summary)s, %(timings)s)"
    " as answer"
)
CAPABILITIES = {"kinds": ["image"], "memory_mb": 81920, "slots": 10}
SUMMARY = {"prompts": [{"id": "p0", "text": "cat", "instances": 1, "best": 0.93}]}
TIMINGS = {"fetch_ms": 5.1, "model_ms": 46.9, "store_ms": 12.0}


class Ours:
    """`claim_tasks` and `complete_task` in the name of the service role."""

    def __init__(self, connector: procrastinate.PsycopgConnector) -> None:
        self._connector = connector

    async def claim(self, limit: int) -> list[Any]:
        """A batch."""
        claims: list[Any] = await self._connector.execute_query_all_async(
            CLAIM, worker="bench", limit=limit, capabilities=CAPABILITIES
        )
        return claims

    async def complete(self, job: Any) -> None:
        """The token decides. Raises RuntimeError if it does not count."""
        answer = await self._connector.execute_query_one_async(
            COMPLETE,
            token=job["token"],
            prefix=f"results/{job['user_id']}/{job['id']}/{job['token']}/",
            summary=SUMMARY,
            timings=TIMINGS,
        )
        if answer["answer"] != "ok":
            msg = f"complete_task answered {answer['answer']}"
            raise RuntimeError(msg)


class Procrastinate:
    """Its job manager, called as its worker calls it."""

    def __init__(self, connector: procrastinate.PsycopgConnector, worker_id: int) -> None:
        self._manager = manager.JobManager(connector)
        self._worker_id = worker_id

    async def claim(self, limit: int) -> list[Any]:
        """One, whatever *limit* says: it has no claim of several."""
        del limit
        job = await self._manager.fetch_job(queues=None, worker_id=self._worker_id)
        return [] if job is None else [job]

    async def complete(self, job: Any) -> None:
        """By id; the row stays, as is its default. Raises what its SQL raises."""
        await self._manager.finish_job(job=job, status=jobs.Status.SUCCEEDED, delete_job=False)


@asynccontextmanager
async def ours(dsn: str, connections: int, *, lean: bool) -> AsyncIterator[Contender]:
    """Ours, with *connections* connections."""
    async with _connector(dsn, connections, "role=service_role", lean=lean) as connector:
        yield Ours(connector)


@asynccontextmanager
async def theirs(dsn: str, connections: int, *, lean: bool) -> AsyncIterator[Contender]:
    """Procrastinate, with *connections* connections and a registered worker."""
    async with _connector(dsn, connections, "search_path=procrastinate", lean=lean) as connector:
        worker_id = await manager.JobManager(connector).register_worker()
        yield Procrastinate(connector, worker_id)


@asynccontextmanager
async def _connector(
    dsn: str, connections: int, option: str, *, lean: bool
) -> AsyncIterator[procrastinate.PsycopgConnector]:
    kwargs = {"options": f"-c {option}", "autocommit": lean}
    connector = procrastinate.PsycopgConnector(
        conninfo=dsn, kwargs=kwargs, min_size=connections, max_size=connections
    )
    if lean:
        async with psycopg_pool.AsyncConnectionPool(
            dsn, kwargs=kwargs, min_size=connections, max_size=connections
        ) as pool:
            await pool.wait()
            await connector.open_async(pool)
            yield connector
        return
    await connector.open_async()
    try:
        yield connector
    finally:
        await connector.close_async()


async def install(dsn: str) -> None:
    """Give the database Procrastinate's own schema, in a PostgreSQL schema of its own."""
    folder = Path(procrastinate.__file__).parent
    async with connected(dsn) as db:
        await db.execute("create schema procrastinate")
        await db.execute("set search_path = procrastinate")
        await db.execute((folder / "sql" / "schema.sql").read_bytes())


DEFER = """
    with deferred as (
        insert into procrastinate.procrastinate_jobs (queue_name, task_name, args)
        select 'default', 'segment', jsonb_build_object(
            'user_id', %(user)s::text,
            'source_image_url', 'uploads/' || %(user)s || '/' || md5(random()::text || n) || '.jpg',
            'prompts', '[{"id": "p0", "text": "cat"}]'::jsonb
        )
        from generate_series(1, %(count)s) as n
        returning id
    )
    insert into procrastinate.procrastinate_events (job_id, type)
    select id, 'deferred' from deferred
"""


async def fill_theirs(db: Connection, count: int) -> None:
    """Let *count* jobs wait, with the events that its triggers would write."""
    await db.execute("set session_replication_role = replica")
    await db.execute(DEFER, {"user": str(uuid.uuid4()), "count": count})
    await db.execute("set session_replication_role = origin")


async def fill_ours(db: Connection, who: filling.Crowd, count: int) -> None:
    """Let *count* tasks wait, with their holds in the ledger."""
    await filling.queue(db, who, count, holds=True)
