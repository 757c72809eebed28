"""The official JavaScript client against the devstack, in Deno."""

import asyncio
import json
import os
import sys
import uuid
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any

import psycopg
import pytest

from devstack import testing


Database = psycopg.AsyncConnection[Any]
Run = Callable[..., Awaitable[None]]

APP = Path(__file__).parent / "javascript" / "app.ts"
DENO = Path(sys.executable).parent / "deno"

#: The first run fetches the client from the npm registry.
PATIENCE_SECONDS = 100.0


@pytest.fixture
async def writable(table: str, run: Run) -> str:
    """The table, where users may also insert and update their own rows."""
    await run("grant insert, update on {t} to authenticated")
    await run(
        "create policy add on {t} for insert to authenticated with check (owner = auth.uid())"
    )
    await run("create policy edit on {t} for update to authenticated using (owner = auth.uid())")
    return table


@pytest.fixture
async def sum_function(db: Database) -> AsyncIterator[str]:
    """The name of a function `(a, b)` to call."""
    name = f"rt_sum_{uuid.uuid4().hex[:8]}"
    create = f"create function public.{name}(a int, b int) returns int return a + b"
    await db.execute(create.encode())
    await db.execute(f"grant execute on function public.{name} to authenticated".encode())
    yield name
    await db.execute(f"drop function public.{name}".encode())


@pytest.fixture
async def open_topic(db: Database, topic: str) -> str:
    """The topic, which everybody who signed in may join."""
    policy = f"""
        create policy "{topic}-select" on realtime.messages
        for select to authenticated using (realtime.topic() = '{topic}')
    """
    await db.execute(policy.encode())
    return topic


@pytest.mark.timeout(PATIENCE_SECONDS + 20)
async def test_an_app_in_javascript_finds_what_it_expects(
    stack: testing.Stack, db: Database, writable: str, sum_function: str, open_topic: str
) -> None:
    """Sign-up, reads and writes, changes under row-level security, broadcasts, private channels."""
    await db.execute("notify pgrst, 'reload schema'")
    arguments = [stack.url, stack.anon_key, writable, sum_function, open_topic, "closed"]

    report = await run_app(*arguments)

    assert report == {
        "rows": "SUBSCRIBED",
        "live": "Subscribed to PostgreSQL",
        "inserted": ["INSERT", "mine", 1.5, None],
        "updated": ["UPDATE", 2, {"id": 2}],
        "selected": [{"name": "mine", "size": 2}],
        "sum": 5,
        "room": ["SUBSCRIBED", "SUBSCRIBED"],
        "acknowledged": "ok",
        "heardByStranger": {"n": 1},
        "heardByMe": {"n": 2},
        "heardByHttp": {"n": 3},
        "present": "fine",
        "open": {"status": "SUBSCRIBED"},
        "closed": {
            "status": "CHANNEL_ERROR",
            "error": "Unauthorized: You do not have permissions to read from this "
            "Channel topic: closed",
        },
        "left": "ok",
    }


async def run_app(*arguments: str) -> dict[str, Any]:
    """What app.ts reports."""
    process = await asyncio.create_subprocess_exec(
        *(str(DENO), "run", "--allow-net", "--allow-env", "--allow-read", "--no-lock"),
        *(str(APP), *arguments),
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
        env={**os.environ, "DENO_NO_UPDATE_CHECK": "1", "NO_COLOR": "1"},
    )
    try:
        async with asyncio.timeout(PATIENCE_SECONDS):
            out, complaint = await process.communicate()
    finally:
        if process.returncode is None:
            process.kill()
    assert process.returncode == 0, complaint.decode()
    report: dict[str, Any] = json.loads(out.splitlines()[-1])
    return report
