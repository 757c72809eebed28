"""`net` when the stack or its database goes and comes back, and when it is left out."""

import asyncio
import json
import uuid
from collections.abc import AsyncIterator, Awaitable, Callable

import psycopg
import pytest
from net_receiver import Database, Receiver, answer_to, post, receiving

from devstack import control, testing


Eventually = Callable[..., Awaitable[None]]


@pytest.fixture
async def receiver() -> AsyncIterator[Receiver]:
    """A receiver that answers at once."""
    async with receiving() as one:
        yield one


async def test_sends_again_after_the_database_restarted(
    new_devstack: Callable[..., testing.DevstackProcess], receiver: Receiver
) -> None:
    """The worker finds its way back to a restarted database."""
    stack = new_devstack().wait_ready()
    await asyncio.to_thread(control.send, stack.url, stack.service_key, "postgres", "restart")
    async with await psycopg.AsyncConnection.connect(stack.db_url, autocommit=True) as db:
        assert (await answer_to(db, await post(db, receiver.url), seconds=10))[0] == 200


async def test_a_request_in_flight_is_sent_again_after_a_stop(
    new_devstack: Callable[..., testing.DevstackProcess], receiver: Receiver, eventually: Eventually
) -> None:
    """As hosted, a worker that dies over a request leaves it in the queue: it may come twice."""
    receiver.gate.clear()
    process = new_devstack()
    async with await psycopg.AsyncConnection.connect(
        process.wait_ready().db_url, autocommit=True
    ) as db:
        await post(db, receiver.url, timeout_milliseconds=60_000)
        await eventually(lambda: len(receiver.got) == 1)
    await asyncio.to_thread(process.stop)

    receiver.gate.set()
    new_devstack().wait_ready()
    await eventually(lambda: len(receiver.got) == 2)


async def test_a_crash_of_the_database_loses_what_waits(
    new_devstack: Callable[..., testing.DevstackProcess], receiver: Receiver, eventually: Eventually
) -> None:
    """As hosted, the queue does not survive a crash: what must arrive needs an outbox."""
    receiver.gate.clear()
    stack = new_devstack().wait_ready()
    async with await psycopg.AsyncConnection.connect(stack.db_url, autocommit=True) as db:
        await post(db, f"{receiver.url}/first", timeout_milliseconds=60_000)
        await eventually(lambda: len(receiver.got) == 1)
        await post(db, f"{receiver.url}/second")
    await asyncio.to_thread(control.send, stack.url, stack.service_key, "postgres", "kill")

    receiver.gate.set()
    async with await psycopg.AsyncConnection.connect(stack.db_url, autocommit=True) as db:
        await answer_to(db, await post(db, f"{receiver.url}/third"), seconds=15)
    assert [request.path for request, _ in receiver.got] == ["/first", "/third"]


async def test_may_be_left_out(new_devstack: Callable[..., testing.DevstackProcess]) -> None:
    """With --no-net there is no `net`, tasks come in all the same, and it may come back."""
    process = new_devstack("--no-net")
    stack = process.wait_ready()
    async with await psycopg.AsyncConnection.connect(stack.db_url, autocommit=True) as db:
        assert await _has_net(db) is False
        await _submit(db)
        process.stop()

    stack = new_devstack().wait_ready()
    async with await psycopg.AsyncConnection.connect(stack.db_url, autocommit=True) as db:
        assert await _has_net(db) is True


async def _has_net(db: Database) -> bool:
    cursor = await db.execute(
        "select to_regprocedure('net.http_post(text,jsonb,jsonb,jsonb,integer)') is not null"
    )
    return bool((await cursor.fetchone() or [None])[0])


async def _submit(db: Database) -> None:
    """A task of a new user, with a listener to wake."""
    user_id = uuid.uuid4()
    await db.execute(
        "insert into auth.users (id, aud, role, created_at, updated_at)"
        " values (%s, 'authenticated', 'authenticated', now(), now())",
        [user_id],
    )
    await db.execute("select public.register_wake_target('one', 'http://127.0.0.1:9/')")
    async with db.transaction():
        await db.execute("set local role authenticated")
        claims = json.dumps({"sub": str(user_id), "role": "authenticated"})
        await db.execute("select set_config('request.jwt.claims', %s, true)", [claims])
        await db.execute(
            "select public.submit_task(p_source_image_url => %s, p_prompts => %s::jsonb)",
            [f"uploads/{user_id}/{'0' * 64}.png", '[{"text": "a dog"}]'],
        )
