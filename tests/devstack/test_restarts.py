"""PostgreSQL and the object store fail under a running devstack, and everything comes back."""

import asyncio
import os
import signal
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from pathlib import Path
from typing import Any

import aiohttp
import psycopg
import pytest
import realtime

from adapters.objects import ObjectStore
from devstack import __main__, control, errors, testing


Eventually = Callable[..., Awaitable[None]]

#: How long anything may take to come back.
BACK_SECONDS = 10.0


@pytest.fixture(scope="module")
def mine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[testing.Stack]:
    """A devstack of this file's own, since others would not like what happens to it."""
    root = tmp_path_factory.mktemp("restarts")
    (root / "migrations").mkdir()
    (root / "migrations" / "20200101000000_notes.sql").write_text(
        "create table public.notes (id int primary key);"
        "create policy hear on realtime.messages for select to authenticated, anon using (true);"
    )
    process = testing.DevstackProcess(root / "state", "--migrations-dir", str(root / "migrations"))
    try:
        yield process.wait_ready()
    finally:
        process.stop()


@pytest.fixture
async def http(mine: testing.Stack) -> AsyncIterator[aiohttp.ClientSession]:
    """The gateway, as the service role; no answer in eight seconds is a hung gateway."""
    headers = {"apikey": mine.service_key}
    timeout = aiohttp.ClientTimeout(total=8)
    async with aiohttp.ClientSession(mine.url, headers=headers, timeout=timeout) as session:
        yield session


async def order(stack: testing.Stack, program: str, what: str) -> None:
    """Give an order and wait until it is carried out."""
    await asyncio.to_thread(control.send, stack.url, stack.service_key, program, what)


async def statuses(http: aiohttp.ClientSession, done: asyncio.Event) -> dict[str, set[int]]:
    """What REST and Auth answer, many at a time, until *done*."""
    seen: dict[str, set[int]] = {"rest": set(), "auth": set()}

    async def ask(service: str, path: str) -> None:
        while not done.is_set():
            async with http.get(path) as answer:
                seen[service].add(answer.status)
            await asyncio.sleep(0.01)

    paths = {"rest": "/rest/v1/notes", "auth": "/auth/v1/admin/users"}
    bearer = {"Authorization": f"Bearer {http.headers['apikey']}"}
    http.headers.update(bearer)
    await asyncio.gather(*(ask(service, path) for service, path in paths.items() for _ in range(8)))
    return seen


@pytest.mark.parametrize("what", ["restart", "kill"])
async def test_a_restart_of_postgres_costs_503s_and_nothing_else(
    mine: testing.Stack, http: aiohttp.ClientSession, eventually: Eventually, what: str
) -> None:
    """While it is away REST and Auth answer 503 (504 to who has waited); then all is as before."""
    done = asyncio.Event()
    asking = asyncio.create_task(statuses(http, done))
    with psycopg.connect(mine.db_url) as connection:
        before = connection.execute("select pg_postmaster_start_time()").fetchone()

    await order(mine, "postgres", what)
    with psycopg.connect(mine.db_url) as connection:
        after = connection.execute("select pg_postmaster_start_time()").fetchone()
    await asyncio.sleep(0)
    done.set()
    seen = await asking

    assert before != after
    assert seen["rest"] | seen["auth"] <= {200, 503, 504}

    async def well() -> bool:
        async with http.get("/rest/v1/notes") as rest, http.get("/auth/v1/admin/users") as auth:
            return rest.status == auth.status == 200

    await eventually(well, BACK_SECONDS)


@pytest.mark.parametrize("what", ["restart", "kill"])
async def test_a_joined_channel_hears_again_after_a_restart_of_postgres(
    mine: testing.Stack, eventually: Eventually, what: str
) -> None:
    """The feed comes back by itself: the same channel gets what the database sends later."""
    heard: list[Any] = []
    client = realtime.AsyncRealtimeClient(f"{mine.url}/realtime/v1", token=mine.anon_key)
    await client.connect()
    channel = client.channel("after", {"config": {"private": True, "broadcast": {}}})  # type: ignore[typeddict-item]
    await channel.on_broadcast("*", heard.append).subscribe()

    await order(mine, "postgres", what)

    async def sent_and_heard() -> bool:
        async with await psycopg.AsyncConnection.connect(mine.db_url) as connection:
            await connection.execute("select realtime.send('{}', 'late', 'after', true)")
        return bool(heard)

    await eventually(sent_and_heard, BACK_SECONDS)
    await client.close()


async def test_a_paused_database_is_told_of_in_time(
    mine: testing.Stack, http: aiohttp.ClientSession, eventually: Eventually
) -> None:
    """New connections hang on a stopped postmaster; a request does not: it ends within seconds."""
    await order(mine, "postgres", "pause")
    try:
        with psycopg.connect(mine.db_url, connect_timeout=2) as connection:
            connection.execute("select 1")
        pytest.fail("the postmaster was not paused")
    except psycopg.OperationalError:
        began = time.monotonic()
        asked = [http.get("/rest/v1/notes") for _ in range(30)]
        answers = await asyncio.gather(*asked)
        assert time.monotonic() - began < 8
        assert {answer.status for answer in answers} <= {200, 503, 504}
    finally:
        await order(mine, "postgres", "resume")

    async def well() -> bool:
        async with http.get("/rest/v1/notes") as answer:
            return answer.status == 200

    await eventually(well, BACK_SECONDS)


async def put(stack: testing.Stack, seconds: float) -> bool:
    """Whether a nameless request gets its refusal from the store in *seconds*."""
    timeout = aiohttp.ClientTimeout(total=seconds)
    try:
        async with (
            aiohttp.ClientSession(timeout=timeout) as session,
            session.get(f"{stack.r2_endpoint}/{stack.r2_bucket}") as answer,
        ):
            return answer.status == 403
    except (aiohttp.ClientError, TimeoutError):
        return False


async def test_a_paused_object_store_is_silent_and_goes_on(
    mine: testing.Stack, eventually: Eventually
) -> None:
    """Between pause and resume it answers nobody; afterwards as before."""
    await order(mine, "objects", "pause")
    try:
        assert not await put(mine, 0.5)
    finally:
        await order(mine, "objects", "resume")

    await eventually(lambda: put(mine, 2.0), BACK_SECONDS)


async def test_a_killed_object_store_comes_back_with_its_objects(mine: testing.Stack) -> None:
    """A restart by SIGKILL loses nothing, and is answered once the store takes writes."""
    store = ObjectStore(
        endpoint=mine.r2_endpoint,
        access_key_id=mine.r2_access_key_id,
        secret_access_key=mine.r2_secret_access_key,
        bucket=mine.r2_bucket,
    )
    async with store:
        await store.put("kept", b"42", "text/plain")

        await order(mine, "objects", "kill")

        assert await store.get("kept") == b"42"


async def test_a_paused_object_store_can_be_killed(mine: testing.Stack) -> None:
    """An order never waits for a program that stands still."""
    await order(mine, "objects", "pause")
    await order(mine, "objects", "restart")

    assert await put(mine, 2.0)


async def test_orders_are_for_the_service_key(mine: testing.Stack) -> None:
    """An app's own key may not stop the platform under other apps."""
    with pytest.raises(errors.StackError, match="Only the service key"):
        await asyncio.to_thread(control.send, mine.url, mine.anon_key, "postgres", "kill")


async def test_an_unknown_order_names_the_known_ones(mine: testing.Stack) -> None:
    """A typing error is answered with what there is."""
    with pytest.raises(errors.StackError, match="restart kill pause resume"):
        await order(mine, "postgres", "explode")


def test_the_command_line_gives_orders(mine: testing.Stack) -> None:
    """`python -m devstack restart objects` is the same order."""
    assert __main__.main(["restart", "objects", "--state-dir", str(mine.state_dir)]) == 0


def test_the_command_line_says_when_nothing_runs(tmp_path: Path) -> None:
    """There is nobody to give an order to."""
    assert __main__.main(["kill", "postgres", "--state-dir", str(tmp_path)]) == 3


def test_a_program_that_dies_unasked_still_ends_the_stack(tmp_path: Path) -> None:
    """Negative control of the restart: only an order may take a program away."""
    (tmp_path / "migrations").mkdir()
    process = testing.DevstackProcess(
        tmp_path / "state", "--migrations-dir", str(tmp_path / "migrations")
    )
    try:
        stack = process.wait_ready()
        control.send(stack.url, stack.service_key, "postgres", "restart")
        pid_file = stack.state_dir / "postgres" / "postmaster.pid"
        os.kill(int(pid_file.read_text().split()[0]), signal.SIGKILL)

        assert process.wait() == 1
    finally:
        process.stop()
