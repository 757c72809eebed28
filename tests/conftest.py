"""Fixtures of the whole suite: one devstack per worker process, and users on it."""

import asyncio
import signal
import uuid
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from pathlib import Path
from typing import Any

import aiohttp
import psycopg
import pytest
import structlog
from hypothesis import settings
from psycopg.rows import TupleRow

from devstack import testing


Database = psycopg.AsyncConnection[TupleRow]


def pytest_configure() -> None:
    """Let programs that tests start hear Ctrl-C, also when a shell started pytest with `&`."""
    settings.register_profile("suite", deadline=None)  # a busy machine is slow, not wrong
    settings.load_profile("suite")
    signal.signal(signal.SIGINT, signal.default_int_handler)
    # A traceback with the values of all variables, structlog's default, takes seconds for a model.
    plain = structlog.dev.ConsoleRenderer(exception_formatter=structlog.dev.plain_traceback)
    structlog.configure(processors=[*structlog.get_config()["processors"][:-1], plain])


@pytest.fixture(scope="session")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[testing.Stack]:
    """A devstack with the repository's migrations, shared by the tests of one worker process."""
    process = testing.DevstackProcess(tmp_path_factory.mktemp("devstack") / "state")
    try:
        yield process.wait_ready()
    finally:
        process.stop()


@pytest.fixture
def new_devstack(tmp_path: Path) -> Iterator[Callable[..., testing.DevstackProcess]]:
    """
    Start a devstack of the test's own with more flags of `up`.

    All of one test share a state directory. Each that still runs is stopped at the end.
    """
    started: list[testing.DevstackProcess] = []

    def start(*flags: str) -> testing.DevstackProcess:
        process = testing.DevstackProcess(tmp_path / "state", *flags)
        started.append(process)
        return process

    yield start
    for process in started:
        process.stop()


@pytest.fixture
async def db(stack: testing.Stack) -> AsyncIterator[Database]:
    """An autocommit connection as the superuser `postgres`."""
    async with await psycopg.AsyncConnection.connect(stack.db_url, autocommit=True) as connection:
        yield connection


@pytest.fixture
async def new_user(
    stack: testing.Stack,
) -> AsyncIterator[Callable[..., Awaitable[testing.SignedUpUser]]]:
    """A factory of users who signed up over HTTP; call it with `data` for user metadata."""
    headers = {"apikey": stack.anon_key}
    async with aiohttp.ClientSession(base_url=stack.url, headers=headers) as http:

        async def sign_up(data: dict[str, Any] | None = None) -> testing.SignedUpUser:
            email, password = f"user-{uuid.uuid4().hex[:12]}@example.com", uuid.uuid4().hex
            body = {"email": email, "password": password, "data": data or {}}
            async with http.post("/auth/v1/signup", json=body) as response:
                answer = await response.json()
                assert response.status == 200, answer
            return testing.SignedUpUser(
                id=answer["user"]["id"],
                email=email,
                password=password,
                access_token=answer["access_token"],
                refresh_token=answer["refresh_token"],
            )

        yield sign_up


@pytest.fixture
def eventually() -> Callable[..., Awaitable[None]]:
    """A function that waits until a condition, sync or async, holds, and fails after seconds."""

    async def wait(condition: Callable[[], bool | Awaitable[bool]], seconds: float = 5.0) -> None:
        async with asyncio.timeout(seconds):
            while True:
                held = condition()
                if held if isinstance(held, bool) else await held:
                    return
                await asyncio.sleep(testing.LOOK_SECONDS)

    return wait
