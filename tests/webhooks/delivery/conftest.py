"""A platform with webhooks, a user, their server, and dispatchers."""

import asyncio
import contextlib
import functools
import json
import os
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import dispatchers
import psycopg
import pytest
from dispatchers import DispatcherProcess, Dispatching, Platform, Receiver, Spawn

from adapters.rest import Rest
from devstack.testing import SignedUpUser, Stack


@pytest.fixture
async def platform(stack: Stack, db: psycopg.AsyncConnection[Any]) -> AsyncIterator[Platform]:
    """No user, no task, no webhook."""
    # Claims are global, so one test's deliveries must not be another's.
    await db.execute("truncate auth.users cascade")
    async with Rest(url=stack.url, key=stack.anon_key) as rest:
        yield Platform(stack=stack, db=db, rest=rest)


@pytest.fixture
async def user(
    platform: Platform, new_user: Callable[..., Awaitable[SignedUpUser]]
) -> SignedUpUser:
    """A user with 100 credits."""
    return await new_user()


@pytest.fixture
async def receiver() -> AsyncIterator[Receiver]:
    """The user's server; answers 200."""
    async with Receiver() as server:
        yield server


@pytest.fixture
async def other_receiver() -> AsyncIterator[Receiver]:
    """Another server."""
    async with Receiver() as server:
        yield server


@pytest.fixture
def dispatching(stack: Stack) -> Dispatching:
    """Run a dispatcher in this process."""
    return functools.partial(dispatchers.dispatching, stack)


@pytest.fixture
async def spawn(stack: Stack) -> AsyncIterator[Spawn]:
    """Start dispatcher processes; each that still runs at the end is killed."""
    fixed = {
        "PATH": os.environ["PATH"],
        "SUPABASE_URL": stack.url,
        "SUPABASE_SERVICE_KEY": stack.service_key,
        "S3_LOG_FORMAT": "json",
        "DISPATCHER_ALLOW_PRIVATE": "true",
    }
    async with contextlib.AsyncExitStack() as ends:

        async def begin(
            limits: dict[str, float] | None = None, **changed: str
        ) -> DispatcherProcess:
            """With *limits* it is tests/quick_dispatcher.py."""
            own = ["webhooks.delivery"]
            program = own if limits is None else ["tests.quick_dispatcher", json.dumps(limits)]
            process = await asyncio.create_subprocess_exec(
                *(sys.executable, "-m", *program),
                env={**fixed, **changed},
                stderr=asyncio.subprocess.PIPE,
            )
            dispatcher = DispatcherProcess(process=process)
            reading = asyncio.create_task(dispatcher.read())

            async def end() -> None:
                with contextlib.suppress(ProcessLookupError):
                    process.kill()
                await process.wait()
                await reading

            ends.push_async_callback(end)
            return dispatcher

        yield begin
