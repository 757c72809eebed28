"""Fixtures of the database's laws: an empty queue, and people who call it."""

import contextlib
import uuid
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from typing import Any

import psycopg
import psycopg_pool
import pytest
from database.callers import CALLER_COUNT, Caller, Pool
from psycopg.rows import DictRow, dict_row

from bench.queue_states import clock


@pytest.fixture
async def pool(stack: Any) -> AsyncIterator[Pool]:
    """Connections for callers, on a database without users and tasks."""
    async with psycopg_pool.AsyncConnectionPool(
        stack.db_url,
        connection_class=psycopg.AsyncConnection[DictRow],
        kwargs={"autocommit": True, "row_factory": dict_row},
        min_size=1,
        max_size=CALLER_COUNT,
    ) as connections:
        async with connections.connection() as connection:
            # Claims are global, so one test's tasks must not be another's.
            for command in clock.EMPTY:
                await connection.execute(command)
        yield connections


@pytest.fixture
def operator(pool: Pool) -> Caller:
    """The superuser at psql, past every policy and grant."""
    return Caller(pool=pool, role=None)


@pytest.fixture
def service(pool: Pool) -> Caller:
    """A worker or operator with the service key."""
    return Caller(pool=pool, role="service_role")


@pytest.fixture
def nobody(pool: Pool) -> Caller:
    """A caller with only the anon key."""
    return Caller(pool=pool, role="anon")


@pytest.fixture
def new_owner(pool: Pool, operator: Caller) -> Callable[..., Awaitable[Caller]]:
    """Sign a user up; with `kind="gpu"`, the user of a machine."""

    async def make(kind: str | None = None) -> Caller:
        """Insert the user."""
        owner = Caller(pool=pool, role="authenticated", id=str(uuid.uuid4()), kind=kind)
        # Complete as Auth writes it: other tests list the users of this database.
        await operator.rows(
            "insert into auth.users (id, aud, role, created_at, updated_at)"
            " values (%s, 'authenticated', 'authenticated', now(), now())",
            owner.id,
        )
        return owner

    return make


@pytest.fixture
async def owner(new_owner: Callable[..., Awaitable[Caller]]) -> Caller:
    """A user with 100 credits."""
    return await new_owner()


@pytest.fixture
async def busy_owner(owner: Caller, service: Caller) -> Caller:
    """The owner, in the tier that knows no bounds."""
    await service.call("set_user_tier", p_user_id=owner.id, p_tier="internal")
    return owner


@pytest.fixture
async def stranger(new_owner: Callable[..., Awaitable[Caller]]) -> Caller:
    """Another user."""
    return await new_owner()


@pytest.fixture
def new_machine(
    new_owner: Callable[..., Awaitable[Caller]], service: Caller
) -> Callable[[], Awaitable[Caller]]:
    """Make a machine user and register it."""

    async def make() -> Caller:
        """Sign up and register."""
        host = await new_owner(kind="gpu")
        await service.call("register_machine", p_id=host.id, p_name="host")
        return host

    return make


@pytest.fixture
async def machine(new_machine: Callable[[], Awaitable[Caller]]) -> Caller:
    """An enabled GPU host."""
    return await new_machine()


@pytest.fixture
def task_row(operator: Caller) -> Callable[[str], Awaitable[DictRow]]:
    """Read the row of a task by its id, past every policy."""

    async def read(task_id: str) -> DictRow:
        """Read one row."""
        query = "select * from public.segmentation_results where id = %s"
        return (await operator.rows(query, task_id))[0]

    return read


@pytest.fixture
def pass_lease(operator: Caller) -> Callable[..., Awaitable[None]]:
    """Make a lease, or with `deadline=True` also its deadline, lie in the past."""

    async def let_pass(token: int, *, deadline: bool = False) -> None:
        """Move the attempt into the past."""
        query = """
            update segmentation.attempts set
                claimed_at = claimed_at - interval '1 day',
                lease_expires_at = now() - interval '1 second',
                deadline_at = case when %s then now() - interval '1 second' else deadline_at end
            where token = %s
        """
        await operator.rows(query, deadline, token)

    return let_pass


@pytest.fixture
async def tiers(operator: Caller) -> AsyncIterator[Callable[..., Awaitable[None]]]:
    """Change a tier's bounds, `tiers("free", max_waiting=5)`; they are put back afterwards."""
    before = await operator.rows("select * from segmentation.tiers")

    async def change(tier: str, **bounds: int | None) -> None:
        """Set them."""
        for name, value in bounds.items():
            query = f"update segmentation.tiers set {name} = %s where tier = %s"
            await operator.rows(query, value, tier)

    yield change
    for row in before:
        await change(row.pop("tier"), **row)


@pytest.fixture
def skip(operator: Caller) -> Callable[[float], Awaitable[None]]:
    """Let time pass: move every instant of the queue back by some seconds."""

    async def let_pass(seconds: float) -> None:
        """Move them."""
        for command in clock.SKIP:
            await operator.rows(command, seconds)

    return let_pass


@pytest.fixture
def due_now(operator: Caller) -> Callable[[], Awaitable[None]]:
    """Make every backoff lie in the past."""

    async def end_backoffs() -> None:
        """Make all that is pending due."""
        await operator.rows(
            "update public.segmentation_results set run_after = now() where status = 'pending'"
        )

    return end_backoffs


@pytest.fixture
def refused() -> Callable[[str, str], contextlib.AbstractContextManager[None]]:
    """Expect a refusal, by its SQLSTATE and ErrorCode."""

    @contextlib.contextmanager
    def expect(sqlstate: str, code: str) -> Iterator[None]:
        with pytest.raises(psycopg.Error) as caught:
            yield
        diagnosis = caught.value.diag
        assert (caught.value.sqlstate, diagnosis.message_primary) == (sqlstate, code)
        assert diagnosis.message_detail

    return expect


@pytest.fixture
async def all_is_paid(operator: Caller) -> AsyncIterator[None]:
    """Ask after the test whether balances, ledger and tasks still agree."""
    yield
    assert await operator.rows("select * from segmentation.ledger_mismatches()") == []
