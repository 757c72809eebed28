"""`postgres_changes`: what a channel may ask for, and what it then hears."""

from collections.abc import Awaitable, Callable
from typing import Any

import pytest


Connect = Callable[..., Awaitable[Any]]
Person = Callable[..., Any]
Run = Callable[..., Awaitable[None]]


@pytest.mark.parametrize("event", ["INSERT", "UPDATE", "DELETE"])
async def test_a_binding_hears_only_its_event(
    connect: Connect, person: Person, table: str, run: Run, event: str
) -> None:
    """INSERT, UPDATE and DELETE are told apart; one frame names all bindings that it answers."""
    wire, me = await connect(), person()
    one, every = await wire.subscribe(table, me.token, {"event": event}, {"event": "*"})

    frames = []
    insert = f"insert into {{t}} values (7, '{me.id}', 'cat', 1)"
    for change in (insert, "update {t} set size = 2", "delete from {t}"):
        await run(change)
        frames.append(await wire.event("postgres_changes"))

    heard = {frame["data"]["type"]: set(frame["ids"]) for frame in frames}
    assert heard == {
        kind: {one, every} if kind == event else {every} for kind in ("INSERT", "UPDATE", "DELETE")
    }


FILTERS = {
    "id=eq.7": True,
    "id=eq.8": False,
    "id=neq.8": True,
    "size=lt.10": True,
    "size=lt.9.5": False,
    "size=lte.9.5": True,
    "size=gt.9": True,
    "size=gte.9.6": False,
    "name=in.(dog,black cat)": True,
    'name=in.("a,b","black cat")': True,
    "id=in.(1,2,3)": False,
    "name=like.black%": True,
    "name=like.BLACK%": False,
    "name=ilike.BLACK%": True,
    "name=match.^bl.*t$": True,
    'name=match."^(a|b),x$"': False,
    "name=imatch.CAT": True,
    "name=is.null": False,
    "name=not.is.null": True,
    "id=not.eq.8": True,
    "name=not.like.%dog%": True,
    "id=isdistinct.8": True,
    "id=gt.6,id=lt.8": True,
    "id=gt.6,name=eq.dog": False,
    'name=eq."black cat"': True,
}


async def test_a_filter_selects_rows(
    connect: Connect, person: Person, table: str, run: Run
) -> None:
    """Every operator compares as PostgreSQL does for the column's type; commas mean and."""
    wire, me = await connect(), person()
    ids = await wire.subscribe(table, me.token, *({"filter": text} for text in FILTERS))

    await run("insert into {t} values (7, %s, 'black cat', 9.5)", me.id)
    frame = await wire.event("postgres_changes")

    heard = {text: one in frame["ids"] for text, one in zip(FILTERS, ids, strict=True)}
    assert heard == FILTERS


async def test_select_narrows_the_record_to_chosen_columns(
    connect: Connect, person: Person, table: str, run: Run
) -> None:
    """A binding's `select` names the columns to send; the key always comes with them."""
    wire, me = await connect(), person()
    await wire.subscribe(table, me.token, {"select": ["name"]})

    await run("insert into {t} values (7, %s, 'cat', 12)", me.id)

    assert (await wire.change())["record"] == {"id": 7, "name": "cat"}


@pytest.mark.parametrize(
    ("binding", "reason"),
    [
        ({"table": "nowhere"}, "Please check Realtime is enabled"),
        ({"filter": "colour=eq.red"}, "colour"),
        ({"filter": "id=eq.seven"}, "invalid input syntax"),
        ({"filter": "id=near.7"}, "Error parsing `filter`"),
        ({"filter": "name=match.["}, "invalid regular expression"),
        ({"select": ["colour"]}, "colour"),
    ],
)
async def test_a_binding_that_cannot_be_served_says_so(
    connect: Connect, person: Person, table: str, binding: dict[str, Any], reason: str
) -> None:
    """The join succeeds, as hosted, and a system message with status error explains."""
    wire = await connect()
    change = {"event": "*", "schema": "public", "table": table, **binding}
    reply = await wire.join(table, person().token, postgres_changes=[change])
    status = await wire.event("system")

    assert reply["status"] == "ok"
    assert (status["extension"], status["status"]) == ("postgres_changes", "error")
    assert reason in status["message"]


async def test_a_filter_cannot_ask_about_a_hidden_column(
    connect: Connect, person: Person, table: str, run: Run
) -> None:
    """Else a subscriber could find a secret by guessing."""
    await run("revoke select on {t} from authenticated")
    await run("grant select (id, owner) on {t} to authenticated")
    wire = await connect()
    change = {"event": "*", "schema": "public", "table": table, "filter": "size=gt.10"}
    await wire.join(table, person().token, postgres_changes=[change])

    assert (await wire.event("system"))["status"] == "error"


async def test_a_filter_on_a_column_that_was_hidden_since_holds_for_nothing(
    connect: Connect, person: Person, table: str, run: Run
) -> None:
    """The check at the join is not the last one."""
    wire, me = await connect(), person()
    _, every = await wire.subscribe(table, me.token, {"filter": "size=gt.10"}, {"event": "*"})

    await run("revoke select on {t} from authenticated")
    await run("grant select (id, owner) on {t} to authenticated")
    await run("insert into {t} values (7, %s, 'cat', 12)", me.id)

    assert (await wire.event("postgres_changes"))["ids"] == [every]


async def test_a_join_can_wait_until_its_bindings_are_served(
    connect: Connect, person: Person, table: str
) -> None:
    """With `postgres_changes_options.wait` a binding that cannot be served fails the join."""
    wire, me = await connect(), person()
    change = {"event": "*", "schema": "public", "table": "nowhere"}
    options = {"wait": True, "timeout": 1000}

    refused = await wire.join(
        "a", me.token, postgres_changes=[change], postgres_changes_options=options
    )
    accepted = await wire.join(
        "b",
        me.token,
        postgres_changes=[{**change, "table": table}],
        postgres_changes_options=options,
    )

    assert (refused["status"], accepted["status"]) == ("error", "ok")
