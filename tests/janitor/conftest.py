"""An empty platform, and janitors for it."""

import asyncio
import contextlib
import json
import os
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import psycopg
import pytest
from janitors import JanitorProcess, Platform, Spawn
from tcp_proxy import TcpProxy

from adapters.objects import ObjectStore
from adapters.rest import Rest
from devstack.testing import SignedUpUser, Stack
from janitor.database import Database
from janitor.health import State


@pytest.fixture
async def platform(stack: Stack, db: psycopg.AsyncConnection[Any]) -> AsyncIterator[Platform]:
    """No user, no task, no object, no line in the outbox."""
    async with (
        Rest(url=stack.url, key=stack.anon_key) as rest,
        Rest(url=stack.url, key=stack.service_key) as service,
        ObjectStore(
            endpoint=stack.r2_endpoint,
            access_key_id=stack.r2_access_key_id,
            secret_access_key=stack.r2_secret_access_key,
            bucket=stack.r2_bucket,
        ) as bucket,
    ):
        # The sweep and the outbox are about everything there is, so other tests' things must go.
        await db.execute("truncate auth.users, segmentation.object_deletions cascade")
        for place in ("uploads/", "results/"):
            await bucket.delete_prefix(place)
        yield Platform(
            stack=stack,
            db=db,
            rest=rest,
            bucket=bucket,
            database=Database(service, lease_seconds=1),
        )


@pytest.fixture
async def user(
    platform: Platform, new_user: Callable[..., Awaitable[SignedUpUser]]
) -> SignedUpUser:
    """Somebody with 100 credits."""
    return await new_user()


@pytest.fixture
async def stranger(
    platform: Platform, new_user: Callable[..., Awaitable[SignedUpUser]]
) -> SignedUpUser:
    """Somebody else."""
    return await new_user()


@pytest.fixture
def state() -> State:
    """A janitor's state, empty."""
    return State()


@pytest.fixture
def environment(stack: Stack) -> Callable[..., dict[str, str]]:
    """`environment(JANITOR_…=…)`: a janitor's environment, with overrides."""

    def make(**changed: str) -> dict[str, str]:
        names = ("SUPABASE_URL", "SUPABASE_SERVICE_KEY", "R2_")
        known = {name: value for name, value in stack.env.items() if name.startswith(names)}
        fixed = {"PATH": os.environ["PATH"], "S3_LOG_FORMAT": "json", "COLUMNS": "160"}
        return {**known, **fixed, **changed}

    return make


@pytest.fixture
async def spawn(environment: Callable[..., dict[str, str]]) -> AsyncIterator[Spawn]:
    """Start janitor processes; each that still runs at the end is killed."""
    async with contextlib.AsyncExitStack() as ends:

        async def begin(
            schedule: dict[str, float] | None = None, *arguments: str, **changed: str
        ) -> JanitorProcess:
            """With a *schedule* it is tests/quick_janitor.py."""
            own = ["janitor"]
            program = own if schedule is None else ["tests.quick_janitor", json.dumps(schedule)]
            process = await asyncio.create_subprocess_exec(
                *(sys.executable, "-m", *program, *arguments),
                env=environment(**changed),
                stderr=asyncio.subprocess.PIPE,
            )
            janitor = JanitorProcess(process=process)
            reading = asyncio.create_task(janitor.read())

            async def end() -> None:
                with contextlib.suppress(ProcessLookupError):
                    process.kill()
                await process.wait()
                await reading

            ends.push_async_callback(end)
            return janitor

        yield begin


@pytest.fixture
async def store_proxy(stack: Stack) -> AsyncIterator[TcpProxy]:
    """A proxy to the object store."""
    async with TcpProxy(stack.r2_endpoint) as proxy:
        yield proxy


@pytest.fixture
async def database_proxy(stack: Stack) -> AsyncIterator[TcpProxy]:
    """A proxy to Supabase."""
    async with TcpProxy(stack.url) as proxy:
        yield proxy


@pytest.fixture
async def api_url(stack: Stack) -> AsyncIterator[str]:
    """An API process."""
    names = ("SUPABASE_URL", "SUPABASE_ANON_KEY", "SUPABASE_JWT_SECRET", "R2_")
    env = {name: value for name, value in stack.env.items() if name.startswith(names)}
    env |= {"PATH": os.environ["PATH"], "API_PORT": "0", "S3_LOG_FORMAT": "json"}
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "api"), env=env, stderr=asyncio.subprocess.PIPE
    )
    api = JanitorProcess(process=process)
    reading = asyncio.create_task(api.read())
    try:
        async with asyncio.timeout(30):
            while not api.said("api_started"):
                assert process.returncode is None, api.other
                await asyncio.sleep(0.02)
        yield str(api.said("api_started")[0]["url"])
    finally:
        process.terminate()
        await process.wait()
        await reading
