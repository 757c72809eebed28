"""`postgres_changes`: who gets which change, and what is in it."""

from collections.abc import Awaitable, Callable
from typing import Any


Connect = Callable[..., Awaitable[Any]]
Person = Callable[..., Any]
Run = Callable[..., Awaitable[None]]


async def test_an_insert_reaches_its_owner_with_native_values(
    connect: Connect, person: Person, table: str, run: Run
) -> None:
    """A record has the columns' types in JSON, and the frame says what it is about."""
    wire, me = await connect(), person()
    (identifier,) = await wire.subscribe(table, me.token)

    await run("insert into {t} values (7, %s, 'cat', 1.50)", me.id)
    frame = await wire.event("postgres_changes")

    assert frame["ids"] == [identifier]
    stamp = frame["data"].pop("commit_timestamp")
    assert stamp.endswith("Z")
    assert frame["data"] == {
        "schema": "public",
        "table": table,
        "type": "INSERT",
        "columns": [
            {"name": "id", "type": "int4"},
            {"name": "owner", "type": "uuid"},
            {"name": "name", "type": "text"},
            {"name": "size", "type": "numeric"},
        ],
        "errors": None,
        "record": {"id": 7, "owner": me.id, "name": "cat", "size": 1.5},
    }


async def names_seen_by_one_of_two(
    connect: Connect, person: Person, table: str, run: Run
) -> set[str]:
    """What a subscriber hears when a stranger's row and then an own one is inserted."""
    wire, me, stranger = await connect(), person(), person()
    await wire.subscribe(table, me.token)
    await run("insert into {t} values (1, %s, 'theirs', 0)", stranger.id)
    await run("insert into {t} values (2, %s, 'mine', 0)", me.id)
    heard: set[str] = set()
    while "mine" not in heard:  # changes come in order, so nothing can follow
        heard.add((await wire.change())["record"]["name"])
    return heard


async def test_a_row_is_heard_of_only_by_those_who_may_select_it(
    connect: Connect, person: Person, table: str, run: Run
) -> None:
    """Row-level security decides about every row and subscriber."""
    assert await names_seen_by_one_of_two(connect, person, table, run) == {"mine"}


async def test_without_row_level_security_everybody_hears_of_every_row(
    connect: Connect, person: Person, table: str, run: Run
) -> None:
    """The negative control: the isolation above is the database's, not an accident."""
    await run("alter table {t} disable row level security")

    assert await names_seen_by_one_of_two(connect, person, table, run) == {"mine", "theirs"}


async def test_an_update_carries_the_row_and_the_old_key(
    connect: Connect, person: Person, table: str, run: Run
) -> None:
    """`old_record` is the primary key, also where the key itself changed."""
    wire, me = await connect(), person()
    await run("insert into {t} values (7, %s, 'cat', 1)", me.id)
    # Updates alone: the insert may still be on its way when the subscription goes live.
    await wire.subscribe(table, me.token, {"event": "UPDATE"})

    await run("update {t} set name = null where id = 7")
    renamed = await wire.change()
    await run("update {t} set id = 8 where id = 7")
    moved = await wire.change()

    assert renamed["record"] == {"id": 7, "owner": me.id, "name": None, "size": 1}
    assert renamed["old_record"] == {"id": 7}
    assert (moved["record"]["id"], moved["old_record"]) == (8, {"id": 7})


async def test_a_delete_carries_only_the_key(
    connect: Connect, person: Person, table: str, run: Run
) -> None:
    """A deleted row cannot be checked any more, so everybody gets the key and nobody more."""
    wire = await connect()
    await run("alter table {t} replica identity full")
    await run("insert into {t} values (7, %s, 'secret', 1)", person().id)
    await wire.subscribe(table, person().token)

    await run("delete from {t} where id = 7")
    change = await wire.change()

    assert (change["type"], change["old_record"]) == ("DELETE", {"id": 7})
    assert "record" not in change


async def test_a_hidden_column_is_not_sent(
    connect: Connect, person: Person, table: str, run: Run
) -> None:
    """Only columns that the role may select are in the record and in the list of columns."""
    await run("revoke select on {t} from authenticated")
    await run("grant select (id, owner, name) on {t} to authenticated")
    wire, me = await connect(), person()
    await wire.subscribe(table, me.token)

    await run("insert into {t} values (7, %s, 'cat', 12)", me.id)
    change = await wire.change()

    assert set(change["record"]) == {"id", "owner", "name"}
    assert [column["name"] for column in change["columns"]] == ["id", "owner", "name"]


async def test_a_revoked_grant_counts_from_the_next_change_on(
    connect: Connect, person: Person, table: str, run: Run
) -> None:
    """Permissions are asked for each change; without the key's the record is withheld."""
    wire, me = await connect(), person()
    await wire.subscribe(table, me.token)

    await run("insert into {t} values (7, %s, 'cat', 12)", me.id)
    assert (await wire.change())["record"]["name"] == "cat"
    await run("revoke select on {t} from authenticated")
    await run("update {t} set size = 13")
    change = await wire.change()

    assert change["errors"] == ["Error 401: Unauthorized"]
    assert change["record"] == {}


async def test_a_large_value_that_did_not_change_is_in_the_record(
    connect: Connect, person: Person, table: str, run: Run
) -> None:
    """The log leaves out TOASTed values that an update did not touch; they are read again."""
    wire, me = await connect(), person()
    await run("alter table {t} alter column name set storage external")
    await run("insert into {t} values (7, %s, repeat('x', 9000), 1)", me.id)
    await wire.subscribe(table, me.token, {"event": "UPDATE"})

    await run("update {t} set size = 2")

    assert (await wire.change())["record"]["name"] == "x" * 9000


async def test_changes_come_in_the_order_of_their_commits(
    connect: Connect, person: Person, table: str, run: Run
) -> None:
    """Order is kept, within a transaction and between them."""
    wire, me = await connect(), person()
    await wire.subscribe(table, me.token)

    await run("insert into {t} select n, %s, 'x', 0 from generate_series(1, 250) n", me.id)
    for number in range(251, 271):
        await run("insert into {t} values (%s, %s, 'x', 0)", number, me.id)
    heard = [(await wire.change())["record"]["id"] for _ in range(270)]

    assert heard == list(range(1, 271))


async def test_a_change_that_is_rolled_back_is_not_heard_of(
    connect: Connect, person: Person, table: str, run: Run
) -> None:
    """Only commits are streamed."""
    wire, me = await connect(), person()
    await wire.subscribe(table, me.token)

    await run("begin")
    await run("insert into {t} values (1, %s, 'ghost', 0)", me.id)
    await run("rollback")
    await run("insert into {t} values (2, %s, 'real', 0)", me.id)

    assert (await wire.change())["record"]["name"] == "real"
