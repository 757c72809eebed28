"""
A replacement of pg_net: the schema `net`, and the worker that sends its requests.

A batch is one transaction: take, send all at once, keep the answers. So a worker that dies in the
middle sends again, one slow receiver holds up the next batch, and nothing is tried twice. Unlike
pg_net it does not rest for a second between batches.
"""

import asyncio
import contextlib
import json
import logging
from collections.abc import AsyncIterator
from typing import Any

import aiohttp
import psycopg
from aiohttp import web

from devstack import context, migrations


log = logging.getLogger(__name__)

SCHEMA = migrations.PLATFORM / "net" / "schema.sql"

BATCH_COUNT = 200

#: Wait before listening, or taking, again after the connection broke.
RECONNECT_SECONDS = 1.0

#: Old answers are looked for at least so often.
IDLE_SECONDS = 60.0

TAKE = b"""
    with taken as (
        delete from net.http_request_queue where ctid in (
            select ctid from net.http_request_queue order by id limit %s for update skip locked
        )
        returning id, method, url, headers, body, timeout_milliseconds
    )
    select * from taken order by id
"""
KEEP = b"""
    insert into net._http_response (
        id, status_code, content_type, headers, content, timed_out, error_msg
    )
    values (
        %(id)s, %(status_code)s, %(content_type)s, %(headers)s, %(content)s, %(timed_out)s,
        %(error_msg)s
    )
"""
FORGET = b"delete from net._http_response where created < now() - interval '6 hours'"

Answer = dict[str, Any]


async def settle(connection: migrations.Connection, *, wanted: bool) -> None:
    """Create or drop the schema `net`, as *wanted*. Idempotent."""
    found = await connection.execute("select to_regnamespace('net') is not null")
    present = await found.fetchone() == (True,)
    if wanted == present:
        return
    async with connection.transaction():
        if present:
            await connection.execute("drop schema net cascade")
        else:
            await migrations.execute(connection, SCHEMA, SCHEMA.read_text())


def add_to(app: web.Application) -> None:
    """Send requests for as long as *app* runs; its context must be set."""
    app.cleanup_ctx.append(_run)


async def _run(app: web.Application) -> AsyncIterator[None]:
    shared = app[context.CONTEXT]
    async with aiohttp.ClientSession(headers={"User-Agent": "pg_net/devstack"}) as http:
        worker = Worker(shared.pool, http)
        tasks = [asyncio.create_task(worker.listen(shared.dsn)), asyncio.create_task(worker.run())]
        yield
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


class Worker:
    """Takes requests in batches whenever the database says that there are some."""

    def __init__(self, pool: context.Pool, http: aiohttp.ClientSession) -> None:
        self._pool = pool
        self._http = http
        self._wanted = asyncio.Event()

    async def listen(self, dsn: str) -> None:
        """Wake `run` at each commit that queued a request, until cancelled."""
        while True:
            try:
                async with await psycopg.AsyncConnection.connect(dsn, autocommit=True) as heard:
                    await heard.execute(b"listen devstack_net")
                    # What was queued while nobody listened.
                    self._wanted.set()
                    async for _ in heard.notifies():
                        self._wanted.set()
            except psycopg.Error as error:
                log.warning("The net worker lost its connection: %s", error)
            await asyncio.sleep(RECONNECT_SECONDS)

    async def run(self) -> None:
        while True:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(IDLE_SECONDS):
                    await self._wanted.wait()
            self._wanted.clear()
            try:
                while await self._batch():
                    pass
            except psycopg.Error as error:
                log.warning("The net worker could not work: %s", error)
                await asyncio.sleep(RECONNECT_SECONDS)
                self._wanted.set()

    async def _batch(self) -> int:
        """Send one batch and return its number of requests. Raises: psycopg.Error."""
        async with self._pool.connection() as connection, connection.transaction():
            await connection.execute(FORGET)
            cursor = await connection.execute(TAKE, [BATCH_COUNT])
            requests = await cursor.fetchall()
            if requests:
                answers = await asyncio.gather(*(self._send(*request) for request in requests))
                await cursor.executemany(KEEP, answers)
            return len(requests)

    async def _send(
        self, request_id: int, method: str, url: str, headers: Any, body: bytes, milliseconds: int
    ) -> Answer:
        answer = dict.fromkeys(("status_code", "content_type", "headers", "content", "error_msg"))
        answer |= {"id": request_id, "timed_out": False}
        try:
            async with self._http.request(
                method,
                url,
                headers={name: _text(value) for name, value in headers.items()},
                data=body,
                timeout=aiohttp.ClientTimeout(total=milliseconds / 1000),
            ) as response:
                content = (await response.read()).decode(errors="replace")
        except TimeoutError:
            return answer | {
                "timed_out": True,
                "error_msg": f"Timeout of {milliseconds} ms reached.",
            }
        except (aiohttp.ClientError, OSError, ValueError) as error:
            return answer | {"error_msg": str(error) or type(error).__name__}
        return answer | {
            "status_code": response.status,
            "content_type": response.headers.get("Content-Type"),
            "headers": json.dumps(dict(response.headers)),
            # PostgreSQL's text cannot hold the character.
            "content": content.replace("\0", "\N{REPLACEMENT CHARACTER}"),
        }


def _text(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value)
