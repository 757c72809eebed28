"""Ask PostgreSQL what a subscriber may see: row-level security decides, never this code."""

import asyncio
import dataclasses
import logging
from collections.abc import Mapping

import psycopg

from devstack.realtime import catalog, identity, pgoutput


log = logging.getLogger(__name__)

#: How often to look again for a commit that is logged but not yet visible, and for how long.
COMMIT_POLL_SECONDS = 0.001
COMMIT_POLLS = 1000

READABLE_COLUMNS = """
select attname from pg_attribute
where attrelid = %s and attnum > 0 and not attisdropped
    and has_column_privilege(attrelid, attnum, 'select')
"""

# The id lacks its epoch: a development database does not live through 4 billion transactions.
COMMIT_IS_VISIBLE = "select pg_visible_in_snapshot(%s::text::xid8, pg_current_snapshot())"


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Sight:
    """What one identity sees of one table: columns by name, rows by the number asked with."""

    columns: frozenset[str] = frozenset()
    rows: frozenset[int] = frozenset()


BLIND = Sight()


async def commit(connection: identity.Connection, transaction: pgoutput.Transaction) -> None:
    """
    Wait until *transaction* is visible to queries.

    A commit is streamed as soon as it is in the log, up to a millisecond before others see it. A
    row-level security check, or a client's read after a hint, would else find the row missing.
    """
    for _ in range(COMMIT_POLLS):
        cursor = await connection.execute(COMMIT_IS_VISIBLE, [str(transaction.xid)])
        if await cursor.fetchone() == (True,):
            return
        await asyncio.sleep(COMMIT_POLL_SECONDS)
    log.warning("commit %d is still not visible", transaction.xid)


async def sight(
    connection: identity.Connection,
    who: identity.Identity,
    table: catalog.Table,
    keys: Mapping[int, tuple[str, ...]],
) -> Sight:
    """
    Which columns of *table* and which rows, given by number and primary key, *who* may select.

    Runs as *who* inside a savepoint. A policy that fails or takes too long hides everything.
    """
    try:
        async with connection.transaction(force_rollback=True):
            await identity.assume(connection, who)
            cursor = await connection.execute(READABLE_COLUMNS, [table.oid])
            columns = frozenset(name for (name,) in await cursor.fetchall())
            rows = await _rows(connection, table, keys) if columns >= set(table.key) else []
            return Sight(columns=columns, rows=frozenset(rows))
    except psycopg.Error as error:
        log.warning("%s hidden from role %s: %s", table.name, who.role, error)
        return BLIND


async def _rows(
    connection: identity.Connection, table: catalog.Table, keys: Mapping[int, tuple[str, ...]]
) -> list[int]:
    if not keys:
        return []
    arrays = ", ".join(f"%s::text[]::{table.sql_types[name]}[]" for name in table.key)
    names = ", ".join(f"k{n}" for n in range(len(table.key)))
    equal = " and ".join(f"t.{catalog.quoted(name)} = v.k{n}" for n, name in enumerate(table.key))
    query = (
        f"select v.number from unnest(%s::int[], {arrays}) as v(number, {names})"
        f" join {table.name} as t on {equal}"
    )
    parameters: list[list[int] | list[str]] = [list(keys)]
    parameters += [list(column) for column in zip(*keys.values(), strict=True)]
    cursor = await connection.execute(query.encode(), parameters)
    return [number for (number,) in await cursor.fetchall()]


async def filled(
    connection: identity.Connection, table: catalog.Table, change: pgoutput.Change
) -> pgoutput.Change:
    """*change* with the large values that the log left out read from the table as it is now."""
    row = change.new or {}
    missing = [name for name, value in row.items() if value is pgoutput.Unchanged.TOAST]
    if not missing or not table.key:
        return change
    names = ", ".join(f"{catalog.quoted(name)}::text" for name in missing)
    where = " and ".join(
        f"{catalog.quoted(name)} = %s::{table.sql_types[name]}" for name in table.key
    )
    query = f"select {names} from {table.name} where {where}"
    found = await (await connection.execute(query.encode(), table.key_of(row))).fetchone()
    # A row deleted since has no values to give; its columns are left out.
    values = dict(zip(missing, found, strict=True)) if found else {}
    known = {name: value for name, value in row.items() if name not in missing}
    return dataclasses.replace(change, new={**known, **values})
