"""Requests of `net.http_post`: who makes them, who receives them, what became of them."""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import psycopg
from aiohttp import web

from devstack import testing


Database = psycopg.AsyncConnection[Any]


@dataclass(kw_only=True)
class Receiver:
    """A server that keeps what it is sent."""

    got: list[tuple[web.Request, bytes]] = field(default_factory=list)
    status: int = 200
    gate: asyncio.Event = field(default_factory=asyncio.Event)
    """Answers wait for it."""
    url: str = ""

    async def take(self, request: web.Request) -> web.Response:
        """Keep it, then answer."""
        self.got.append((request, await request.read()))
        await self.gate.wait()
        return web.Response(status=self.status, text="taken\0")


@asynccontextmanager
async def receiving() -> AsyncIterator[Receiver]:
    """A receiver that answers at once."""
    one = Receiver()
    one.gate.set()
    app = web.Application()
    app.router.add_route("*", "/{path:.*}", one.take)
    runner = web.AppRunner(app, shutdown_timeout=0.1)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0, backlog=512).start()
    one.url = f"http://127.0.0.1:{runner.addresses[0][1]}"
    yield one
    one.gate.set()
    await runner.cleanup()


async def post(db: Database, url: str, **options: Any) -> int:
    """Call `net.http_post`; the id."""
    given = {"url": url} | {
        name: json.dumps(value) if isinstance(value, dict) else value
        for name, value in options.items()
    }
    casts = {"body": "::jsonb", "params": "::jsonb", "headers": "::jsonb"}
    arguments = ", ".join(f"{name} => %({name})s{casts.get(name, '')}" for name in given)
    cursor = await db.execute(f"select net.http_post({arguments})".encode(), given)
    [request_id] = await cursor.fetchone() or [0]
    return int(request_id)


async def answer_to(db: Database, request_id: int, seconds: float = 5.0) -> tuple[Any, ...]:
    """Status, timed_out, error and content of the answer, once it is there."""
    async with asyncio.timeout(seconds):
        while True:
            cursor = await db.execute(
                "select status_code, timed_out, error_msg, content"
                " from net._http_response where id = %s",
                [request_id],
            )
            if row := await cursor.fetchone():
                return tuple(row)
            await asyncio.sleep(testing.LOOK_SECONDS)
