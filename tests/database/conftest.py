"""Fixtures of the database's laws: an empty queue, and people who call it."""

import contextlib
import dataclasses
import json
import uuid
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from typing import Any

import psycopg
import psycopg_pool
import pytest
from psycopg import sql
from psycopg.rows import DictRow, dict_row
from psycopg.types.json import Jsonb


Pool = psycopg_pool.AsyncConnectionPool[psycopg.AsyncConnection[DictRow]]

#: Callers at once; more wait for a connection.
CALLER_COUNT = 40


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Caller:
    """Somebody at PostgREST's door: a database role and the claims of a token."""

    pool: Pool
    #: `authenticated`, `anon`, `service_role`; None is the superuser at psql.
    role: str | None
    #: The Auth user's id; empty for the service role.
    id: str = ""
    #: `app_metadata.kind` of the token.
    kind: str | None = None

    async def rows(self, query: str, *values: Any) -> list[DictRow]:
        """Run *query* in a transaction of one's own, as PostgREST does; its rows."""
        async with self.pool.connection() as connection, connection.transaction():
            await self._dress(connection)
            cursor = await connection.execute(query.encode(), [_plain(value) for value in values])
            return await cursor.fetchall() if cursor.description else []

    async def value(self, query: str, *values: Any) -> Any:
        """The single value that *query* answers."""
        rows = await self.rows(query, *values)
        return next(iter(rows[0].values()))

    async def table(self, function: str, **arguments: Any) -> list[DictRow]:
        """The rows of a function in `public`, by `/rpc/<function>`."""
        named = sql.SQL(", ").join(
            sql.SQL("{} => {}").format(sql.Identifier(name), sql.Placeholder(name))
            for name in arguments
        )
        query = sql.SQL("select * from {}({})").format(sql.Identifier("public", function), named)
        plain = {name: _plain(value) for name, value in arguments.items()}
        async with self.pool.connection() as connection, connection.transaction():
            await self._dress(connection)
            return await (await connection.execute(query, plain)).fetchall()

    async def call(self, function: str, **arguments: Any) -> Any:
        """The single answer of a function in `public`."""
        return next(iter((await self.table(function, **arguments))[0].values()))

    async def submit(self, **arguments: Any) -> DictRow:
        """Submit a task of one text prompt, unless *arguments* say otherwise; its row."""
        defaults = {"p_source_image_url": self.upload(), "p_prompts": [{"text": "cat"}]}
        answer = await self.call("submit_task", **defaults | arguments)
        task: DictRow = answer["task"]
        return task

    async def claim(self, limit: int = 1, **arguments: Any) -> list[DictRow]:
        """Claim due tasks."""
        defaults = {"p_worker": "w", "p_limit": limit}
        return await self.table("claim_tasks", **defaults | arguments)

    async def complete(self, claim: DictRow, **arguments: Any) -> str:
        """Settle a claim with results where they belong; the answer."""
        prefix = f"results/{claim['user_id']}/{claim['id']}/{claim['token']}/"
        defaults = {
            "p_token": claim["token"],
            "p_manifest_url": prefix + "manifest.json",
            "p_mask_image_url": prefix + "mask.png",
            "p_overlay_image_url": None,
            "p_instance_count": 2,
            "p_summary": {"prompts": []},
        }
        answer: str = await self.call("complete_task", **defaults | arguments)
        return answer

    def upload(self) -> str:
        """Key of a picture of this user."""
        return f"uploads/{self.id}/{'0' * 64}.png"

    async def _dress(self, connection: psycopg.AsyncConnection[DictRow]) -> None:
        claims: dict[str, Any] = {"role": self.role, "app_metadata": {"kind": self.kind}}
        if self.id:
            claims["sub"] = self.id
        if self.role is not None:
            await connection.execute(
                "select set_config('role', %s, true), set_config('request.jwt.claims', %s, true)",
                [self.role, json.dumps(claims)],
            )


def _plain(value: Any) -> Any:
    return Jsonb(value) if isinstance(value, dict | list) else value


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
            await connection.execute("truncate auth.users, realtime.messages cascade")
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
