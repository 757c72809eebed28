"""Pieces of SQL: quoted identifiers, bound values, columns, conditions, order."""

import functools
from typing import Any

from psycopg import sql

from devstack.rest import catalogue, errors
from devstack.rest.query import Column, Condition, Field, Filter, Logic, Nulls, OrderTerm, Step


_SYMBOLS = {
    "eq": "=",
    "neq": "<>",
    "gt": ">",
    "gte": ">=",
    "lt": "<",
    "lte": "<=",
    "like": "like",
    "ilike": "ilike",
    "match": "~",
    "imatch": "~*",
    "isdistinct": "is distinct from",
    "cs": "@>",
    "cd": "<@",
    "ov": "&&",
    "sl": "<<",
    "sr": ">>",
    "nxr": "&<",
    "nxl": "&>",
    "adj": "-|-",
}
_PATTERNS = frozenset({"like", "ilike"})
_IS = {
    "null": "is null",
    "not_null": "is not null",
    "true": "is true",
    "false": "is false",
    "unknown": "is unknown",
}
_TO_TSQUERY = {
    "fts": "to_tsquery",
    "plfts": "plainto_tsquery",
    "phfts": "phraseto_tsquery",
    "wfts": "websearch_to_tsquery",
}
_NULLS = {Nulls.FIRST: " nulls first", Nulls.LAST: " nulls last"}

#: SQL spells these types with words that quoting would turn into other names.
_SQL_TYPES = frozenset(
    {
        "bigint",
        "bit varying",
        "boolean",
        "character varying",
        "decimal",
        "double precision",
        "float",
        "int",
        "integer",
        "real",
        "smallint",
        "time with time zone",
        "time without time zone",
        "timestamp with time zone",
        "timestamp without time zone",
    }
)


class Binder:
    """Values of one statement, in the order of their placeholders `$1`, `$2`, …"""

    def __init__(self) -> None:
        self.values: list[Any] = []

    def bind(self, value: Any) -> str:
        """A placeholder for *value*. Text has no type: PostgreSQL infers it from the context."""
        self.values.append(value)
        return f"${len(self.values)}"


@functools.lru_cache(maxsize=4096)
def quoted(name: str) -> str:
    """*name* as an SQL identifier. Raises: QueryParameterError if no identifier can be so."""
    if "\0" in name:
        raise errors.QueryParameterError(details="a name cannot contain a NUL character")
    try:
        return sql.Identifier(name).as_string(None)
    except UnicodeEncodeError as error:
        raise errors.QueryParameterError(details=f"a name must be valid UTF-8: {error}") from error


def qualified(name: str) -> str:
    """*name* in the exposed schema."""
    return f"{quoted(catalogue.SCHEMA)}.{quoted(name)}"


def array_literal(values: tuple[str, ...]) -> str:
    """An array in PostgreSQL's text form; every element is quoted, so none is null."""
    escaped = (value.replace("\\", "\\\\").replace('"', '\\"') for value in values)
    return "{" + ",".join(f'"{value}"' for value in escaped) + "}"


class Renderer:
    """Writes SQL about one source, known by *alias* and, if it is a relation, by its columns."""

    def __init__(self, binder: Binder, alias: str, relation: catalogue.Relation | None) -> None:
        self.binder = binder
        self.alias = quoted(alias)
        self._columns = relation.columns if relation else {}

    def column(self, item: Column) -> str:
        """One item of the select list, named as the answer shall name it."""
        if item.field.is_star:
            return f"{self.alias}.*"
        rendered = self.field(item.field)
        if item.cast:
            rendered = f"cast({rendered} as {_type_name(item.cast)})"
        name = item.alias or _default_name(item.field)
        return f"{rendered} as {quoted(name)}"

    def field(self, field: Field) -> str:
        """A column or the place in it that its JSON path names."""
        base = f"{self.alias}.{quoted(field.name)}"
        if not field.path:
            return base
        if self._base_type(field.name) not in catalogue.JSON_TYPES:
            base = f"to_jsonb({base})"
        return f"({base}{''.join(self._step(step) for step in field.path)})"

    def condition(self, condition: Condition) -> str:
        if isinstance(condition, Logic):
            return self._logic(condition)
        comparison = self._comparison(condition)
        return f"not ({comparison})" if condition.negated else comparison

    def where(self, conditions: list[str]) -> str:
        return f" where {' and '.join(conditions)}" if conditions else ""

    def order(self, terms: tuple[OrderTerm, ...]) -> str:
        rendered = [
            f"{self.field(term.field)}{' desc' if term.descending else ' asc'}"
            f"{_NULLS[term.nulls] if term.nulls else ''}"
            for term in terms
        ]
        return f" order by {', '.join(rendered)}" if rendered else ""

    def window(self, limit: int | None, offset: int) -> str:
        limited = f" limit {self.binder.bind(limit)}" if limit is not None else ""
        return limited + (f" offset {self.binder.bind(offset)}" if offset else "")

    def _logic(self, logic: Logic) -> str:
        joined = f" {logic.operator} ".join(self.condition(term) for term in logic.terms)
        return f"{'not ' if logic.negated else ''}({joined})"

    def _comparison(self, item: Filter) -> str:
        field = self.field(item.field)
        if isinstance(item.value, tuple):
            return f"{field} = any({self.binder.bind(array_literal(item.value))})"
        if item.operator == "is":
            return f"{field} {_IS[item.value]}"
        if item.operator in _TO_TSQUERY:
            return self._full_text(item, field, item.value)
        value = item.value.replace("*", "%") if item.operator in _PATTERNS else item.value
        placeholder = self.binder.bind(value)
        if item.modifier:
            placeholder = f"{item.modifier}({placeholder})"
        return f"{field} {_SYMBOLS[item.operator]} {placeholder}"

    def _full_text(self, item: Filter, field: str, value: str) -> str:
        language = f"{self.binder.bind(item.modifier)}::regconfig, " if item.modifier else ""
        if self._base_type(item.field.name) != "tsvector":
            field = f"to_tsvector({language}{field})"
        return f"{field} @@ {_TO_TSQUERY[item.operator]}({language}{self.binder.bind(value)})"

    def _step(self, step: Step) -> str:
        operator = "->>" if step.as_text else "->"
        cast = "::int" if isinstance(step.operand, int) else "::text"
        return f"{operator}{self.binder.bind(step.operand)}{cast}"

    def _base_type(self, column: str) -> str:
        info = self._columns.get(column)
        return info.base_type if info else ""


def _type_name(name: str) -> str:
    bare = name.removesuffix("[]")
    suffix = "[]" if bare != name else ""
    return (bare if bare.lower() in _SQL_TYPES else quoted(bare)) + suffix


def _default_name(field: Field) -> str:
    """The last key of the path, as PostgREST names it; indexes have no name."""
    keys = [step.operand for step in field.path if isinstance(step.operand, str)]
    return keys[-1] if keys else field.name
