"""
What the catalog says about a published table: its key and its types.

Cached by the relation object of the stream, which PostgreSQL sends again after every change of the
table. Permissions are never cached; visibility.py asks for them each time.
"""

import dataclasses
from collections.abc import Mapping

from devstack.realtime import identity, pgoutput


COLUMNS = """
select
    attname,
    typname,
    format_type(atttypid, null),
    exists (
        select from pg_index where indrelid = attrelid and indisprimary and attnum = any(indkey)
    )
from pg_attribute
join pg_type on pg_type.oid = atttypid
where attrelid = %s and attnum > 0 and not attisdropped
order by attnum
"""


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Table:
    oid: int
    #: Schema and name, quoted.
    name: str
    #: Names of the primary key's columns; empty where there is none.
    key: tuple[str, ...]
    #: Column name → `pg_type.typname`, which is what the protocol shows. In table order.
    type_names: Mapping[str, str]
    #: Column name → the type as SQL spells it.
    sql_types: Mapping[str, str]

    def key_of(self, row: pgoutput.Row) -> tuple[str, ...]:
        """Values of the primary key in *row*."""
        return tuple(str(row[name]) for name in self.key)


def quoted(*names: str) -> str:
    """A possibly qualified name as SQL writes it."""
    return ".".join('"' + name.replace('"', '""') + '"' for name in names)


def escaped(sql: str) -> str:
    """*sql* for a query with parameters, in which % is special."""
    return sql.replace("%", "%%")


async def read_table(
    connection: identity.Connection, *, oid: int, schema: str, table: str
) -> Table:
    """Ask the catalog about the table *oid*; a dropped one comes back without columns."""
    rows = await (await connection.execute(COLUMNS, [oid])).fetchall()
    return Table(
        oid=oid,
        name=quoted(schema, table),
        key=tuple(name for name, _, _, in_key in rows if in_key),
        type_names={name: type_name for name, type_name, _, _ in rows},
        sql_types={name: sql_type for name, _, sql_type, _ in rows},
    )


class Catalog:
    """Remembers tables for as long as the stream describes them by the same relation object."""

    def __init__(self) -> None:
        self._tables: dict[int, tuple[pgoutput.Relation, Table]] = {}

    async def table(self, connection: identity.Connection, relation: pgoutput.Relation) -> Table:
        known = self._tables.get(relation.oid)
        if known is not None and known[0] is relation:
            return known[1]
        table = await read_table(
            connection, oid=relation.oid, schema=relation.schema, table=relation.table
        )
        self._tables[relation.oid] = (relation, table)
        return table
