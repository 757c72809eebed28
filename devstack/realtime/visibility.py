"""Ask PostgreSQL what subscribers may see: row-level security decides, never this code."""

import asyncio
import contextlib
import dataclasses
import json
import logging
from collections.abc import AsyncIterator, Mapping

import psycopg
from psycopg import conninfo

from devstack.realtime import catalog, identity, pgoutput


log = logging.getLogger(__name__)

#: How often to look again for a commit that is logged but not yet visible, and for how long.
COMMIT_POLL_SECONDS = 0.001
COMMIT_POLLS = 1000

# The id lacks its epoch: a development database does not live through 4 billion transactions.
COMMIT_IS_VISIBLE = "select pg_visible_in_snapshot(%s::text::xid8, pg_current_snapshot())"

# Becomes each viewer in turn, as supabase/walrus does, so that one round trip serves them all. It
# is temporary: it lives with the connection and leaves nothing behind in the app's database.
CREATE_VISIBLE = """
create function pg_temp.visible(
    asked_table oid, key_columns text [], row_query text, viewers jsonb
)
returns table (viewer int, readable text [], seen int [], failure text)
language plpgsql as $$
declare
    one record;
begin
    for one in
        select v.number, v.role, v.claims, v.keys
        from jsonb_to_recordset(viewers) as v (number int, role text, claims text, keys jsonb)
    loop
        viewer := one.number;
        readable := '{}';
        seen := '{}';
        failure := null;
        begin
            perform
                set_config('request.jwt.claims', one.claims, true),
                set_config('role', one.role, true);
            select coalesce(array_agg(a.attname::text), '{}') into readable
            from pg_catalog.pg_attribute as a
            where a.attrelid = asked_table and a.attnum > 0 and not a.attisdropped
                and has_column_privilege(a.attrelid, a.attnum, 'select');
            if key_columns <@ readable and jsonb_array_length(one.keys) > 0 then
                execute row_query into seen using one.keys;
            end if;
        exception when others then
            failure := sqlerrm;
        end;
        perform set_config('role', 'none', true);
        return next;
    end loop;
end
$$
"""

ASK_VISIBLE = "select * from pg_temp.visible(%s::oid, %s::text[], %s, %s::jsonb)"

#: Row number → its primary key.
Keys = Mapping[int, tuple[str, ...]]


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Visible:
    """What one identity sees of one table: columns by name, rows by the number asked with."""

    columns: frozenset[str] = frozenset()
    rows: frozenset[int] = frozenset()


NOTHING = Visible()


@contextlib.asynccontextmanager
async def open_connection(dsn: str) -> AsyncIterator[identity.Connection]:
    """A connection of its own for the questions of this module. Raises: psycopg.Error."""
    timeout = f"-c statement_timeout={identity.POLICY_TIMEOUT}"
    info = conninfo.make_conninfo(dsn, application_name="devstack_visibility", options=timeout)
    async with await psycopg.AsyncConnection.connect(info, autocommit=True) as connection:
        await connection.execute(CREATE_VISIBLE)
        yield connection


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


async def visible_to(
    connection: identity.Connection,
    table: catalog.Table,
    viewers: Mapping[identity.Identity, Keys],
) -> dict[identity.Identity, Visible]:
    """
    What each of *viewers* may select of *table*, of the rows that it is asked with.

    A policy that fails or takes too long hides everything from its viewer. *connection* is from
    `open_connection`.
    """
    everybody = list(viewers)
    asked = json.dumps(
        [
            {"number": number, "role": who.role, "claims": who.claims, "keys": _keys(viewers[who])}
            for number, who in enumerate(everybody)
        ]
    )
    parameters = [table.oid, list(table.key), _row_query(table), asked]
    try:
        answers = await (await connection.execute(ASK_VISIBLE, parameters)).fetchall()
    except psycopg.Error as error:
        if len(everybody) == 1:
            log.warning("%s hidden from role %s: %s", table.name, everybody[0].role, error)
            return {everybody[0]: NOTHING}
        # One viewer's slow policy must not hide rows from the others.
        alone = [await visible_to(connection, table, {who: keys}) for who, keys in viewers.items()]
        return {who: seen for each in alone for who, seen in each.items()}
    return {
        everybody[number]: _answer(table, everybody[number], readable, seen, failure)
        for number, readable, seen, failure in answers
    }


def _answer(
    table: catalog.Table,
    who: identity.Identity,
    readable: list[str],
    seen: list[int] | None,
    failure: str | None,
) -> Visible:
    if failure is not None:
        log.warning("%s hidden from role %s: %s", table.name, who.role, failure)
        return NOTHING
    return Visible(columns=frozenset(readable), rows=frozenset(seen or ()))


def _keys(keys: Keys) -> list[dict[str, object]]:
    return [{"row": number, "key": key} for number, key in keys.items()]


def _row_query(table: catalog.Table) -> str:
    equal = " and ".join(
        f"t.{catalog.quoted(name)} = (asked -> 'key' ->> {n})::{table.sql_types[name]}"
        for n, name in enumerate(table.key)
    )
    return (
        "select array_agg((asked ->> 'row')::int) from jsonb_array_elements($1) as asked"
        f" join {table.name} as t on {equal or 'false'}"
    )


async def filled(
    connection: identity.Connection, table: catalog.Table, change: pgoutput.Change
) -> pgoutput.Change:
    """*change* with the large values that the log left out read from the table as it is now."""
    row = change.new or {}
    missing = [name for name, value in row.items() if value is pgoutput.Unchanged.TOAST]
    if not missing or not table.key:
        return change
    names = ", ".join(f"{catalog.quoted(name)}::text" for name in missing)
    query = catalog.escaped(f"select {names} from {table.name} where ")
    query += " and ".join(
        catalog.escaped(catalog.quoted(name)) + f" = %s::{catalog.escaped(table.sql_types[name])}"
        for name in table.key
    )
    found = await (await connection.execute(query.encode(), table.key_of(row))).fetchone()
    # A row deleted since has no values to give; its columns are left out.
    values = dict(zip(missing, found, strict=True)) if found else {}
    known = {name: value for name, value in row.items() if name not in missing}
    return dataclasses.replace(change, new={**known, **values})
