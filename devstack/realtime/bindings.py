"""The `postgres_changes` bindings of a channel."""

import dataclasses
import json
import zlib
from collections.abc import Iterable, Mapping
from typing import Any

import psycopg

from devstack.realtime import catalog, filters, identity, pgoutput


PUBLICATION = "supabase_realtime"

PUBLISHED = """
select format('%%I.%%I', schemaname, tablename)::regclass::oid::int8, schemaname, tablename
from pg_publication_tables
where pubname = %s and %s::text in (schemaname, '*') and %s::text in (tablename, '*')
"""

EVERYTHING = "*"


class BindingError(ValueError):
    pass


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Binding:
    """One `postgres_changes` entry of a join."""

    #: What the client knows it by. Equal bindings share it. Never 0: clients ignore that.
    id: int
    event: str
    schema: str
    table: str
    filter: filters.Filter
    #: The columns to send, besides the key; None for all of them.
    select: frozenset[str] | None

    def matches(self, change: pgoutput.Change) -> bool:
        """Whether event, schema and table fit; the filter is not asked."""
        return (
            self.event in {change.action, EVERYTHING}
            and self.schema in {change.relation.schema, EVERYTHING}
            and self.table in {change.relation.table, EVERYTHING}
        )


def identifier(params: Mapping[str, Any]) -> int:
    return zlib.crc32(json.dumps(params, sort_keys=True).encode()) or 1


def parse(params: Mapping[str, Any]) -> Binding:
    """Read one entry of a join. Raises: BindingError, filters.FilterError."""
    schema, table = params.get("schema"), params.get("table")
    if not isinstance(schema or table, str):
        raise BindingError("Please provide at least a `schema` or `table` to subscribe to")
    event = str(params.get("event") or EVERYTHING).upper()
    select = _select(params.get("select"))
    if select is not None and EVERYTHING in {schema, table or EVERYTHING}:
        raise BindingError("Column selection is not supported for wildcard subscriptions.")
    return Binding(
        id=identifier(params),
        event=event if event in set(pgoutput.Action) else EVERYTHING,
        schema=schema or "public",
        table=table or EVERYTHING,
        filter=filters.parse(str(params.get("filter") or "")),
        select=select,
    )


def _select(names: object) -> frozenset[str] | None:
    if not names:
        return None
    if not isinstance(names, list):
        raise BindingError("Error parsing `select` params: expected a list of column names")
    return frozenset(str(name) for name in names)


async def check(
    connection: identity.Connection, who: identity.Identity, bindings: Iterable[Binding]
) -> None:
    """Make sure that each binding can be served to *who*. Raises: BindingError."""
    for binding in bindings:
        try:
            async with connection.transaction(force_rollback=True):
                await _check(connection, who, binding)
        except psycopg.Error as error:
            raise BindingError(
                "Unable to subscribe to changes with given parameters. An exception happened so "
                f"please check your connect parameters: [{_described(binding)}]. "
                f"Exception: {error.diag.message_primary or error}"
            ) from error


async def _check(connection: identity.Connection, who: identity.Identity, binding: Binding) -> None:
    cursor = await connection.execute(PUBLISHED, [PUBLICATION, binding.schema, binding.table])
    tables = await cursor.fetchall()
    if not tables:
        raise BindingError(
            "Unable to subscribe to changes with given parameters. Please check Realtime is "
            f"enabled for the given connect parameters: [{_described(binding)}]"
        )
    if not binding.filter and binding.select is None:
        return
    await identity.assume(connection, who)
    for oid, schema, name in tables:
        table = await catalog.read_table(connection, oid=oid, schema=schema, table=name)
        await _check_columns(connection, table, binding)


async def _check_columns(
    connection: identity.Connection, table: catalog.Table, binding: Binding
) -> None:
    wanted = {condition.column for condition in binding.filter} | (binding.select or set())
    for column in wanted:
        cursor = await connection.execute(
            "select has_column_privilege(%s::oid, %s, 'select')", [table.oid, column]
        )
        if await cursor.fetchone() != (True,):
            raise BindingError(f"invalid column for filter or select: {column}")
    nulls = dict.fromkeys(table.type_names)
    expression, parameters = filters.sql(binding.filter, nulls, table.sql_types)
    await connection.execute(f"select {expression}".encode(), parameters)
    for condition in binding.filter:
        # A comparison with null is never carried out, so a broken pattern needs its own try.
        if condition.operator in {"match", "imatch"}:
            await connection.execute("select '' ~ %s", [condition.operand])


def _described(binding: Binding) -> str:
    return f"event: {binding.event}, schema: {binding.schema}, table: {binding.table}"
