"""Everything a run needs: a devstack, users with endpoints, a receiver, a dispatcher."""

import asyncio
import contextlib
import json
import os
import secrets
import sys
import tempfile
import time
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import aiohttp
import psycopg

from bench.webhooks import processor
from cli.local import free_port
from devstack import testing


USERS = 4
ENDPOINTS = 10
"""Each user's; the most that is allowed."""

CONCURRENCY = 160
"""Of the plain loop: as many as the dispatcher has open, four for each of forty endpoints."""

_MESSAGES = """
    insert into public.webhook_deliveries (endpoint_id, user_id, event, task_id, body)
    select endpoints.id, endpoints.user_id, 'task.done', tasks.id, jsonb_build_object(
        'type', 'task.done', 'timestamp', to_char(now(), 'YYYY-MM-DD"T"HH24:MI:SS.MS"Z"'),
        'data', jsonb_build_object(
            'task_id', tasks.id, 'status', 'done', 'progress', 1, 'project_id', null,
            'instance_count', 3, 'credits_charged', 1, 'error', null,
            'created_at', now(), 'finished_at', now()
        )
    )::text
    from (select gen_random_uuid() as id, n from generate_series(1, %s) as n) as tasks
    inner join (select *, row_number() over (order by id) as place from public.webhook_endpoints)
        as endpoints on endpoints.place = 1 + tasks.n %% %s
    returning id, body, (select url from public.webhook_endpoints as e where e.id = endpoint_id)
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Spent:
    """What one side of a round took."""

    count: int
    seconds: float
    cpu: float
    """Of the sender's process."""
    gateway_cpu: float = 0.0
    postgres_cpu: float = 0.0
    lost: int = 0
    doubled: int = 0

    @property
    def rate(self) -> float:
        """Deliveries per second."""
        return self.count / self.seconds

    @property
    def cpu_ms(self) -> float:
        """Of the sender's process, per delivery."""
        return 1000 * self.cpu / self.count


@dataclass(frozen=True, slots=True, kw_only=True)
class Stage:
    """Where a run takes place."""

    stack: testing.Stack
    db: psycopg.AsyncConnection[Any]
    http: aiohttp.ClientSession
    receiver: str
    dispatcher: asyncio.subprocess.Process

    async def dispatched(self, count: int) -> tuple[Spent, list[dict[str, str]]]:
        """A round of ours: from the rows' commit until the last is settled; the messages too."""
        pid = self.dispatcher.pid
        before = [processor.seconds(pid), *self._platform()]
        begun = time.perf_counter()
        rows = await (await self.db.execute(_MESSAGES, [count, USERS * ENDPOINTS])).fetchall()
        while await self._open():  # noqa: ASYNC110 - the database wakes nobody here
            await asyncio.sleep(0.02)
        seconds = time.perf_counter() - begun
        after = [processor.seconds(pid), *self._platform()]
        cpu, gateway, postgres = (b - a for a, b in zip(before, after, strict=True))
        lost, doubled = await self._seen(count)
        spent = Spent(
            count=count,
            seconds=seconds,
            cpu=cpu,
            gateway_cpu=gateway,
            postgres_cpu=postgres,
            lost=lost,
            doubled=doubled,
        )
        return spent, [{"id": row[0], "body": row[1], "url": row[2]} for row in rows]

    async def plain(self, messages: list[dict[str, str]]) -> Spent:
        """The same messages to the same receiver, by the plain loop."""
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "bench.webhooks.plain"),
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
        )
        order = {"concurrency": CONCURRENCY, "messages": messages}
        out, _ = await process.communicate(json.dumps(order).encode())
        found = json.loads(out)
        lost, doubled = await self._seen(len(messages))
        return Spent(
            count=len(messages),
            seconds=found["seconds"],
            cpu=found["cpu"],
            lost=lost,
            doubled=doubled,
        )

    async def _open(self) -> bool:
        query = "select exists (select 1 from public.webhook_deliveries where status = 'pending')"
        row = await (await self.db.execute(query)).fetchone()
        return row is not None and bool(row[0])

    async def _seen(self, count: int) -> tuple[int, int]:
        async with self.http.get(f"{self.receiver}/seen") as answer:
            found = await answer.json()
        return count - found["ids"], found["requests"] - found["ids"]

    def _platform(self) -> list[float]:
        return [processor.seconds(self.stack.pid), processor.seconds_below(self.stack.pid)]


@contextlib.asynccontextmanager
async def staged() -> AsyncIterator[Stage]:
    """Start everything in a temporary folder; end everything."""
    with tempfile.TemporaryDirectory(prefix="s3-webhooks-") as folder:
        devstack = testing.DevstackProcess(Path(folder) / "state")
        async with contextlib.AsyncExitStack() as ends:
            ends.push_async_callback(asyncio.to_thread, devstack.stop)
            stack = await asyncio.to_thread(devstack.wait_ready)
            http = await ends.enter_async_context(aiohttp.ClientSession())
            receiver = await _receiver(ends, http)
            for _ in range(USERS):
                await _user(http, stack, receiver)
            db = await ends.enter_async_context(
                await psycopg.AsyncConnection.connect(stack.db_url, autocommit=True)
            )
            dispatcher = await _process(ends, "webhooks.delivery", env=_environment(stack))
            yield Stage(stack=stack, db=db, http=http, receiver=receiver, dispatcher=dispatcher)


def _environment(stack: testing.Stack) -> dict[str, str]:
    return {
        **os.environ,
        "SUPABASE_URL": stack.url,
        "SUPABASE_SERVICE_KEY": stack.service_key,
        "DISPATCHER_ALLOW_PRIVATE": "true",
        "S3_LOG_FORMAT": "json",
    }


async def _receiver(ends: contextlib.AsyncExitStack, http: aiohttp.ClientSession) -> str:
    port = free_port()
    await _process(ends, "bench.webhooks.receiver", str(port), env=dict(os.environ))
    url = f"http://127.0.0.1:{port}"
    async with asyncio.timeout(30):
        while True:
            with contextlib.suppress(aiohttp.ClientError):
                async with http.get(f"{url}/seen"):
                    return url
            await asyncio.sleep(0.05)


async def _process(
    ends: contextlib.AsyncExitStack, module: str, *arguments: str, env: dict[str, str]
) -> asyncio.subprocess.Process:
    # Its log is made and thrown away, as an operator's would be made and kept.
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", module, *arguments), env=env, stderr=asyncio.subprocess.DEVNULL
    )

    async def end() -> None:
        with contextlib.suppress(ProcessLookupError):
            process.terminate()
        await process.wait()

    ends.push_async_callback(end)
    return process


async def _user(http: aiohttp.ClientSession, stack: testing.Stack, receiver: str) -> None:
    headers = {"apikey": stack.anon_key}
    body = {"email": f"{secrets.token_hex(6)}@example.org", "password": secrets.token_hex(16)}
    async with http.post(f"{stack.url}/auth/v1/signup", json=body, headers=headers) as answer:
        answer.raise_for_status()
        headers["Authorization"] = f"Bearer {(await answer.json())['access_token']}"
    for number in range(ENDPOINTS):
        async with http.post(
            f"{stack.url}/rest/v1/rpc/create_webhook",
            json={"p_url": f"{receiver}/{number}", "p_events": ["task.done"]},
            headers=headers,
        ) as answer:
            answer.raise_for_status()
