"""`?wait=`: what many waits cost, and how each of them ends."""

import asyncio
from types import SimpleNamespace
from typing import Any
from uuid import UUID, uuid4

import pytest

from adapters.rest import RestRefused
from api import task_store
from api.auth import Principal
from api.problems import Problem
from api.waiting import Waits


class FakeTable:
    """What a query needs of postgrest; counts the queries, and whose token they carried."""

    def __init__(self, rest: "FakeRest", token: str) -> None:
        self._rest = rest
        self._token = token
        self._ids: list[str] = []

    def select(self, _columns: str) -> "FakeTable":
        """Take all columns."""
        return self

    def in_(self, _column: str, ids: list[str]) -> "FakeTable":
        """Take these rows."""
        self._ids = ids
        return self

    async def execute(self) -> Any:
        """Answer the rows that this user has."""
        self._rest.queries.append(self._token)
        if self._rest.refusal is not None:
            raise self._rest.refusal
        rows = self._rest.rows.get(self._token, {})
        return SimpleNamespace(data=[rows[one] for one in self._ids if one in rows])


class FakeRest:
    """Rows by token, as row-level security shows them."""

    def __init__(self) -> None:
        self.rows: dict[str, dict[str, task_store.Row]] = {}
        self.queries: list[str] = []
        self.refusal: RestRefused | None = None

    def table(self, _name: str, token: str) -> FakeTable:
        """Begin a query."""
        return FakeTable(self, token)

    def queued(self, who: Principal) -> task_store.Row:
        """Put a pending task of that user."""
        row = {"id": str(uuid4()), "status": "pending"}
        self.rows.setdefault(who.token, {})[row["id"]] = row
        return row

    def end(self, who: Principal, row: task_store.Row) -> None:
        """Make a task final."""
        self.rows[who.token][row["id"]] = {**row, "status": "done"}


def user(token: str) -> Principal:
    """A user with that token."""
    return Principal(user_id=UUID(int=sum(token.encode())), email=None, token=token)


@pytest.fixture
def rest() -> FakeRest:
    """A database without rows."""
    return FakeRest()


@pytest.fixture
def waits(rest: FakeRest) -> Waits:
    """The waits of one process."""
    return Waits(rest)  # type: ignore[arg-type]


REQUEST: Any = SimpleNamespace(transport=object())


async def test_a_hundred_waits_of_a_user_cost_what_one_costs(rest: FakeRest, waits: Waits) -> None:
    """All waits of a user are one query a look: in half a second about four, not hundreds."""
    ann = user("ann")
    rows = [rest.queued(ann) for _ in range(100)]

    await asyncio.gather(*(waits.until_final(REQUEST, ann, row, 0.5) for row in rows))

    assert 1 <= len(rest.queries) <= 5


async def test_each_user_is_read_with_their_own_token(rest: FakeRest, waits: Waits) -> None:
    """Two users are two polls: nobody's rows are read with another's token."""
    ann, bob = user("ann"), user("bob")
    ours, theirs = rest.queued(ann), rest.queued(bob)
    looking = asyncio.gather(
        waits.until_final(REQUEST, ann, ours, 5), waits.until_final(REQUEST, bob, theirs, 5)
    )
    rest.end(ann, ours)
    rest.end(bob, theirs)

    found = await looking

    assert [row["status"] for row in found] == ["done", "done"]
    assert set(rest.queries) == {"ann", "bob"}


async def test_a_stop_ends_every_wait_at_once(rest: FakeRest, waits: Waits) -> None:
    """A wait of a minute answers the row as it is when the server stops."""
    ann = user("ann")
    looking = asyncio.create_task(waits.until_final(REQUEST, ann, rest.queued(ann), 60))
    await asyncio.sleep(0)

    waits.stop()

    async with asyncio.timeout(1):
        assert (await looking)["status"] == "pending"
    await waits.close()


async def test_a_deleted_row_is_not_found(rest: FakeRest, waits: Waits) -> None:
    """Deleting a task while somebody waits for it ends the wait with 404."""
    ann = user("ann")
    row = rest.queued(ann)
    rest.rows.clear()

    with pytest.raises(Problem) as raised:
        await waits.until_final(REQUEST, ann, row, 5)

    assert raised.value.code == "not_found"


async def test_a_refused_token_ends_the_wait_and_no_later_one(rest: FakeRest, waits: Waits) -> None:
    """A token that expires while waiting is refused; the next wait of that user is not."""
    ann = user("ann")
    row = rest.queued(ann)
    rest.refusal = RestRefused(401, "PGRST303", "JWT expired", None)
    with pytest.raises(RestRefused):
        await waits.until_final(REQUEST, ann, row, 5)
    rest.refusal = None
    rest.end(ann, row)

    assert (await waits.until_final(REQUEST, ann, row, 5))["status"] == "done"
