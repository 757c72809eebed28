"""`?wait=`: what many waits cost, and how each of them ends."""

import asyncio
from collections.abc import AsyncIterator
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
    """What a query needs of postgrest."""

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
        """Answer the rows that this token sees."""
        self._rest.queries.append((self._token, len(self._ids)))
        if self._token in self._rest.expired:
            raise RestRefused(401, "PGRST303", "JWT expired", None)
        status = "pending" if len(self._rest.queries) < self._rest.done_at else "done"
        visible = self._rest.visible.get(self._token, set())
        return SimpleNamespace(
            data=[{"id": one, "status": status} for one in self._ids if one in visible]
        )


class FakeRest:
    """Ids by token, as row-level security shows them; counts the queries and their ids."""

    def __init__(self) -> None:
        self.visible: dict[str, set[str]] = {}
        self.expired: set[str] = set()
        self.queries: list[tuple[str, int]] = []
        self.done_at = 10_000
        """The query that finds every row done."""

    def table(self, _name: str, token: str) -> FakeTable:
        """Begin a query."""
        return FakeTable(self, token)

    def queued(self, who: Principal) -> task_store.Row:
        """Put a pending task of that user."""
        row = {"id": str(uuid4()), "status": "pending"}
        self.visible.setdefault(who.token, set()).add(row["id"])
        return row


def user(token: str) -> Principal:
    """A user with that token."""
    return Principal(user_id=UUID(int=sum(token.encode())), email=None, token=token)


ANN, BOB = user("ann"), user("bob")


@pytest.fixture
def rest() -> FakeRest:
    """A database without rows."""
    return FakeRest()


@pytest.fixture
async def waits(rest: FakeRest) -> AsyncIterator[Waits]:
    """The waits of one process."""
    one = Waits(rest)  # type: ignore[arg-type]
    yield one
    await one.aclose()


REQUEST: Any = SimpleNamespace(transport=object())


@pytest.mark.parametrize(("users", "queries"), [([ANN] * 100, 3), ([ANN, BOB] * 50, 4)])
async def test_a_hundred_waits_cost_one_query_a_tick(
    rest: FakeRest, waits: Waits, users: list[Principal], queries: int
) -> None:
    """
    A hundred waits that end in the third tick of their poll cost three queries.

    Negative control: of two users each has a poll, so the same number costs two queries a tick.
    """
    rest.done_at = 3

    found = await asyncio.gather(
        *(waits.until_final(REQUEST, who, rest.queued(who), 5) for who in users)
    )

    assert {row["status"] for row in found} == {"done"}
    assert len(rest.queries) == queries


async def test_a_query_names_at_most_a_hundred_rows(rest: FakeRest, waits: Waits) -> None:
    """More waits are read in several queries of one tick, since a URL is bounded."""
    rest.done_at = 1

    await asyncio.gather(
        *(waits.until_final(REQUEST, ANN, rest.queued(ANN), 5) for _ in range(250))
    )

    assert rest.queries == [("ann", 100), ("ann", 100), ("ann", 50)]


async def test_each_user_is_read_with_their_own_token(rest: FakeRest, waits: Waits) -> None:
    """Two users are two polls, and a row that its token does not see is not found."""
    theirs = rest.queued(BOB)
    rest.done_at = 1

    foreign, own = await asyncio.gather(
        waits.until_final(REQUEST, ANN, theirs, 5),
        waits.until_final(REQUEST, BOB, theirs, 5),
        return_exceptions=True,
    )

    assert isinstance(foreign, Problem)
    assert isinstance(own, dict)
    assert (foreign.code, own["status"]) == ("not_found", "done")
    assert sorted(rest.queries) == [("ann", 1), ("bob", 1)]


async def test_a_stop_ends_every_wait_at_once(rest: FakeRest, waits: Waits) -> None:
    """A wait of a minute, and one that begins after the stop, answer the row as it is."""
    looking = asyncio.create_task(waits.until_final(REQUEST, ANN, rest.queued(ANN), 60))
    await asyncio.sleep(0)

    waits.stop()

    async with asyncio.timeout(1):
        assert (await looking)["status"] == "pending"
        assert (await waits.until_final(REQUEST, ANN, rest.queued(ANN), 60))["status"] == "pending"


async def test_a_deleted_row_is_not_found(rest: FakeRest, waits: Waits) -> None:
    """Deleting a task while somebody waits for it ends the wait with 404."""
    row = rest.queued(ANN)
    rest.visible.clear()

    with pytest.raises(Problem) as raised:
        await waits.until_final(REQUEST, ANN, row, 5)

    assert raised.value.code == "not_found"


async def test_an_expired_token_ends_its_own_waits_alone(rest: FakeRest, waits: Waits) -> None:
    """The task is queued, so its state is answered; the same user's newer token waits on."""
    newer = user("ann, refreshed")
    rest.expired.add(ANN.token)
    rest.done_at = 3

    old, new = await asyncio.gather(
        waits.until_final(REQUEST, ANN, rest.queued(ANN), 5),
        waits.until_final(REQUEST, newer, rest.queued(newer), 5),
    )

    assert (old["status"], new["status"]) == ("pending", "done")


async def test_nothing_is_read_for_a_caller_that_hung_up(rest: FakeRest, waits: Waits) -> None:
    """The next look ends the wait, and the poll with it."""
    gone: Any = SimpleNamespace(transport=None)

    async with asyncio.timeout(5):
        await waits.until_final(gone, ANN, rest.queued(ANN), 60)

    assert len(rest.queries) == 1
