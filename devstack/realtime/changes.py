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
class Match:
    """A change and a binding that it matches, before filter and policies are asked."""

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
            matches = await _filtered(connection, await self._matches(connection, chunk))
            visible = await _visible(connection, matches)
            for match, ids in _grouped(matches, visible):
                data = _data(match, visible[_viewpoint(match)], transaction.committed_at)
                match.channel.push("postgres_changes", f'{{"ids":{json.dumps(ids)},"data":{data}}}')

    async def _matches(
        self, connection: identity.Connection, changes: Iterable[pgoutput.Change]
    ) -> list[Match]:
        matches = []
        for number, change in enumerate(changes):
            subscribers = list(self._hub.subscriptions(change))
            if not subscribers:
                continue
            table = await self._catalog.table(connection, change.relation)
            whole = await visibility.filled(connection, table, change)
            matches += [
                Match(number=number, change=whole, table=table, channel=one, binding=binding)
                for one, binding in subscribers
            ]
        return matches


async def _filtered(connection: identity.Connection, matches: list[Match]) -> list[Match]:
    """Those whose filter holds. Equal filters on one row are asked once."""
    asked = {
        (match.number, match.binding.filter): match for match in matches if match.binding.filter
    }
    expressions = [
        filters.sql(match.binding.filter, match.row, match.table.sql_types)
        for match in asked.values()
    ]
    holds = dict(zip(asked, await _evaluated(connection, expressions), strict=True))
    return [match for match in matches if holds.get((match.number, match.binding.filter), True)]


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


def _viewpoint(match: Match) -> Viewpoint:
    return match.channel.who, match.table.oid


async def _visible(
    connection: identity.Connection, matches: Iterable[Match]
) -> dict[Viewpoint, visibility.Visible]:
    """What each identity sees of each table: one question for each table."""
    tables: dict[int, catalog.Table] = {}
    viewers: dict[int, dict[identity.Identity, dict[int, tuple[str, ...]]]] = {}
    for match in matches:
        tables[match.table.oid] = match.table
        keys = viewers.setdefault(match.table.oid, {}).setdefault(match.channel.who, {})
        if match.change.new is not None and match.table.key:
            keys[match.number] = match.table.key_of(match.change.new)
    return {
        (who, oid): seen
        for oid, table in tables.items()
        for who, seen in (await visibility.visible_to(connection, table, viewers[oid])).items()
    }


def _grouped(
    matches: Iterable[Match], visible: Mapping[Viewpoint, visibility.Visible]
) -> Iterable[tuple[Match, list[int]]]:
    """One message for each channel, row and choice of columns, with the ids it answers."""
    groups: dict[tuple[int, channel.Channel, frozenset[str] | None], tuple[Match, list[int]]] = {}
    for match in matches:
        if _may_have(match, visible[_viewpoint(match)]):
            group = (match.number, match.channel, match.binding.select)
            ids = groups.setdefault(group, (match, []))[1]
            if match.binding.id not in ids:
                ids.append(match.binding.id)
    return groups.values()


def _may_have(match: Match, seen: visibility.Visible) -> bool:
    filtered_by = {condition.column for condition in match.binding.filter}
    if not filtered_by <= seen.columns:
        return False  # else a filter would answer questions about a hidden column
    if match.change.action is pgoutput.Action.DELETE or _refusal(match, seen):
        return True
    return match.number in seen.rows


def _refusal(match: Match, seen: visibility.Visible) -> str | None:
    if match.change.action is pgoutput.Action.DELETE:
        return None
    if not match.table.key:
        return NO_KEY
    return None if seen.columns >= set(match.table.key) else NOT_ALLOWED


def _data(match: Match, seen: visibility.Visible, committed_at: dt.datetime) -> str:
    """The `data` of a message as JSON text, with only what *seen* allows and `select` asks."""
    refusal = _refusal(match, seen)
    columns = NO_COLUMNS if refusal else seen.columns
    if match.binding.select is not None:
        columns &= match.binding.select | set(match.table.key)
    types = {name: kind for name, kind in match.table.type_names.items() if name in columns}
    parts = {
        "schema": json.dumps(match.change.relation.schema),
        "table": json.dumps(match.change.relation.table),
        "type": json.dumps(match.change.action),
        "commit_timestamp": json.dumps(_timestamp(committed_at)),
        "columns": json.dumps([{"name": name, "type": kind} for name, kind in types.items()]),
        "errors": json.dumps([refusal]) if refusal else "null",
    }
    if match.change.new is not None:
        parts["record"] = _record(match.change.new, types)
        if len(parts["record"]) > MAX_RECORD_CHARACTERS:
            parts["record"] = _record(_short(match.change.new), types)
            parts["errors"] = json.dumps([TOO_LARGE])
    if match.change.action is not pgoutput.Action.INSERT and not refusal:
        parts["old_record"] = _record(_old_key(match), types)
    return _object(parts)


def _old_key(match: Match) -> pgoutput.Row:
    """The key before the change; the log leaves it out where an update did not touch it."""
    row = {**(match.change.new or {}), **(match.change.old or {})}
    return {name: row[name] for name in match.table.key if name in row}


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
