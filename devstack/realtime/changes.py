"""
From a committed transaction to the `postgres_changes` messages that each subscriber may have.

For INSERT and UPDATE a subscriber gets the columns it may select of the rows it can see now. A
DELETE cannot be checked, the row being gone; it carries the primary key and nothing else, as on the
hosted platform.
"""

import dataclasses
import datetime as dt
import json
import logging
from collections.abc import Iterable, Mapping, Sequence

import psycopg

from devstack.realtime import (
    bindings,
    catalog,
    channel,
    filters,
    hub,
    identity,
    messages,
    pgoutput,
    rendering,
    visibility,
)


log = logging.getLogger(__name__)

#: Over this, a record keeps only its short values, as on the hosted platform.
MAX_RECORD_CHARACTERS = 1024 * 1024
SHORT_CHARACTERS = 64

#: Rows of one transaction looked at together.
CHUNK_CHANGES = 200

NO_KEY = "Error 400: Bad Request, no primary key"
NOT_ALLOWED = "Error 401: Unauthorized"
TOO_LARGE = "Error 413: Payload Too Large"

NO_COLUMNS: frozenset[str] = frozenset()


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Wish:
    """A binding that would like a change, if its filter and the row's policies agree."""

    number: int
    change: pgoutput.Change
    table: catalog.Table
    channel: channel.Channel
    binding: bindings.Binding

    @property
    def row(self) -> pgoutput.Row:
        """What filters look at: of a deleted row, its key."""
        if self.change.new is not None:
            return self.change.new
        old = self.change.old or {}
        return {name: old[name] for name in self.table.key if name in old}


class ChangeFeed:
    """Delivers the changes of published tables."""

    def __init__(self, channels: hub.Hub) -> None:
        self._hub = channels
        self._catalog = catalog.Catalog()

    def wants(self, transaction: pgoutput.Transaction) -> bool:
        """Whether any subscriber may be concerned."""
        return any(
            True
            for change in transaction.changes
            if not messages.is_message(change)
            for _ in self._hub.subscriptions(change)
        )

    async def deliver(
        self, connection: identity.Connection, transaction: pgoutput.Transaction
    ) -> None:
        """Send what subscribers may have of *transaction*, in the order of its changes."""
        changes = [change for change in transaction.changes if not messages.is_message(change)]
        for start in range(0, len(changes), CHUNK_CHANGES):
            chunk = changes[start : start + CHUNK_CHANGES]
            wishes = await _filtered(connection, await self._wishes(connection, chunk))
            sights = await _sights(connection, wishes)
            for wish, ids in _grouped(wishes, sights):
                data = _data(wish, sights[_viewpoint(wish)], transaction.committed_at)
                wish.channel.push("postgres_changes", f'{{"ids":{json.dumps(ids)},"data":{data}}}')

    async def _wishes(
        self, connection: identity.Connection, changes: Iterable[pgoutput.Change]
    ) -> list[Wish]:
        wishes = []
        for number, change in enumerate(changes):
            subscribers = list(self._hub.subscriptions(change))
            if not subscribers:
                continue
            table = await self._catalog.table(connection, change.relation)
            whole = await visibility.filled(connection, table, change)
            wishes += [
                Wish(number=number, change=whole, table=table, channel=one, binding=binding)
                for one, binding in subscribers
            ]
        return wishes


async def _filtered(connection: identity.Connection, wishes: list[Wish]) -> list[Wish]:
    """Those whose filter holds. Equal filters on one row are asked once."""
    asked = {(wish.number, wish.binding.filter): wish for wish in wishes if wish.binding.filter}
    expressions = [
        filters.sql(wish.binding.filter, wish.row, wish.table.sql_types) for wish in asked.values()
    ]
    holds = dict(zip(asked, await _evaluated(connection, expressions), strict=True))
    return [wish for wish in wishes if holds.get((wish.number, wish.binding.filter), True)]


async def _evaluated(
    connection: identity.Connection, expressions: Sequence[tuple[str, list[str | None]]]
) -> list[bool]:
    if not expressions:
        return []
    query = f"select array[{', '.join(expression for expression, _ in expressions)}]"
    parameters = [value for _, values in expressions for value in values]
    try:
        row = await (await connection.execute(query.encode(), parameters)).fetchone()
    except psycopg.Error as error:
        if len(expressions) == 1:
            log.warning("filter failed: %s", error)
            return [False]
        # One filter that a changed type has broken must not silence the others.
        return [(await _evaluated(connection, [one]))[0] for one in expressions]
    return list(row[0]) if row else []


#: An identity looks at a table.
Viewpoint = tuple[identity.Identity, int]


def _viewpoint(wish: Wish) -> Viewpoint:
    return wish.channel.who, wish.table.oid


async def _sights(
    connection: identity.Connection, wishes: Iterable[Wish]
) -> dict[Viewpoint, visibility.Sight]:
    """What each identity sees of each table: one question for each table."""
    tables: dict[int, catalog.Table] = {}
    viewers: dict[int, dict[identity.Identity, dict[int, tuple[str, ...]]]] = {}
    for wish in wishes:
        tables[wish.table.oid] = wish.table
        keys = viewers.setdefault(wish.table.oid, {}).setdefault(wish.channel.who, {})
        if wish.change.new is not None and wish.table.key:
            keys[wish.number] = wish.table.key_of(wish.change.new)
    return {
        (who, oid): sight
        for oid, table in tables.items()
        for who, sight in (await visibility.sights(connection, table, viewers[oid])).items()
    }


def _grouped(
    wishes: Iterable[Wish], sights: Mapping[Viewpoint, visibility.Sight]
) -> Iterable[tuple[Wish, list[int]]]:
    """One message for each channel, row and choice of columns, with the ids it answers."""
    groups: dict[tuple[int, channel.Channel, frozenset[str] | None], tuple[Wish, list[int]]] = {}
    for wish in wishes:
        if _may_have(wish, sights[_viewpoint(wish)]):
            group = (wish.number, wish.channel, wish.binding.select)
            ids = groups.setdefault(group, (wish, []))[1]
            if wish.binding.id not in ids:
                ids.append(wish.binding.id)
    return groups.values()


def _may_have(wish: Wish, sight: visibility.Sight) -> bool:
    filtered_by = {condition.column for condition in wish.binding.filter}
    if not filtered_by <= sight.columns:
        return False  # else a filter would answer questions about a hidden column
    if wish.change.action is pgoutput.Action.DELETE or _refusal(wish, sight):
        return True
    return wish.number in sight.rows


def _refusal(wish: Wish, sight: visibility.Sight) -> str | None:
    if wish.change.action is pgoutput.Action.DELETE:
        return None
    if not wish.table.key:
        return NO_KEY
    return None if sight.columns >= set(wish.table.key) else NOT_ALLOWED


def _data(wish: Wish, sight: visibility.Sight, committed_at: dt.datetime) -> str:
    """The `data` of a message as JSON text, with only what *sight* allows and `select` asks."""
    refusal = _refusal(wish, sight)
    columns = NO_COLUMNS if refusal else sight.columns
    if wish.binding.select is not None:
        columns &= wish.binding.select | set(wish.table.key)
    types = {name: kind for name, kind in wish.table.type_names.items() if name in columns}
    parts = {
        "schema": json.dumps(wish.change.relation.schema),
        "table": json.dumps(wish.change.relation.table),
        "type": json.dumps(wish.change.action),
        "commit_timestamp": json.dumps(_timestamp(committed_at)),
        "columns": json.dumps([{"name": name, "type": kind} for name, kind in types.items()]),
        "errors": json.dumps([refusal]) if refusal else "null",
    }
    if wish.change.new is not None:
        parts["record"] = _record(wish.change.new, types)
        if len(parts["record"]) > MAX_RECORD_CHARACTERS:
            parts["record"] = _record(_short(wish.change.new), types)
            parts["errors"] = json.dumps([TOO_LARGE])
    if wish.change.action is not pgoutput.Action.INSERT and not refusal:
        parts["old_record"] = _record(_old_key(wish), types)
    return _object(parts)


def _old_key(wish: Wish) -> pgoutput.Row:
    """The key before the change; the log leaves it out where an update did not touch it."""
    row = {**(wish.change.new or {}), **(wish.change.old or {})}
    return {name: row[name] for name in wish.table.key if name in row}


def _short(row: pgoutput.Row) -> pgoutput.Row:
    return {
        name: value
        for name, value in row.items()
        if not isinstance(value, str) or len(value) <= SHORT_CHARACTERS
    }


def _record(row: pgoutput.Row, types: Mapping[str, str]) -> str:
    return _object(
        {name: rendering.value(row[name], kind) for name, kind in types.items() if name in row}
    )


def _object(parts: Mapping[str, str]) -> str:
    return "{" + ",".join(f"{json.dumps(name)}:{text}" for name, text in parts.items()) + "}"


def _timestamp(moment: dt.datetime) -> str:
    return moment.isoformat(timespec="milliseconds").replace("+00:00", "Z")
