"""What a request becomes: one SQL statement whose last step turns rows into JSON."""

import dataclasses
from typing import Any

from devstack.rest.headers import Shape


#: Name of the common table expression whose rows the answer is made of.
SOURCE = "pgrst_source"
#: Name of the column that holds a function's scalar result.
SCALAR = "pgrst_scalar"
#: Counts rows that an upsert updated rather than inserted.
UPDATED_SETTING = "pgrst.updated"

#: Body of an answer without rows.
NO_BODY = "''"
NOT_COUNTED = "null::bigint"

_ROWS = "_postgrest_t"


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """What to run, and what must hold before it is committed."""

    #: Placeholders are `$1`, `$2`, …
    sql: str
    values: list[Any]
    read_only: bool
    #: Undo the statement unless it found exactly one row.
    exactly_one: bool = False
    max_affected: int | None = None


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """The one row that every statement answers with."""

    #: Rows of the whole selection, or None if not counted.
    total: int | None
    #: Rows in the body.
    count: int
    body: str
    #: Rows that an upsert updated.
    updated: int


def outcome(*, source: str, rows: str, body: str, total: str = NOT_COUNTED) -> str:
    """The whole statement: *source* is the named expression, *rows* the select whose rows count."""
    return (
        f"with {SOURCE} as ({source}) "
        f"select {total}, count(*), ({body})::text, "
        f"coalesce(nullif(current_setting('{UPDATED_SETTING}', true), '')::int, 0) "
        f"from ({rows}) as {_ROWS}"
    )


def body_of_rows(shape: Shape, *, single: bool) -> str:
    """The aggregate that turns rows into a JSON array, or a *single* row into an object."""
    return _body(shape, f"json_agg({_ROWS})", single=single)


def body_of_scalars(shape: Shape, *, single: bool) -> str:
    """The same for rows that are one scalar each."""
    return _body(shape, f"json_agg({_ROWS}.{SCALAR})", single=single)


def _body(shape: Shape, aggregate: str, *, single: bool) -> str:
    stripped = f"json_strip_nulls({aggregate})" if shape.strip_nulls else aggregate
    return f"coalesce({stripped}->0, 'null')" if single else f"coalesce({stripped}, '[]')"
