"""
Filters of a `postgres_changes` subscription: read them, and turn them into SQL.

`column=[not.]operator.value`, joined by commas, all of which must hold. PostgreSQL itself compares,
on the values from the replication stream, so every type orders and matches as it does in a query.
The grammar is that of supabase/realtime (`subscriptions.ex`).
"""

import dataclasses
import re
from collections.abc import Iterator, Mapping

from devstack.realtime import pgoutput


#: Operators that take a value of the column's own type.
COMPARISONS = {
    "eq": "=",
    "neq": "<>",
    "lt": "<",
    "lte": "<=",
    "gt": ">",
    "gte": ">=",
    "isdistinct": "is distinct from",
}
#: Operators whose value is a pattern.
PATTERNS = {"like": "like", "ilike": "ilike", "match": "~", "imatch": "~*"}

#: What `is` may be followed by.
TRUTHS = frozenset({"null", "true", "false", "unknown"})

#: The hosted platform's limit for `in`.
MAX_IN_VALUES = 100


class FilterError(ValueError):
    pass


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Condition:
    """One condition on one column. For `in`, `operand` is an array literal."""

    column: str
    operator: str
    operand: str
    negated: bool

    def sql(self, value: pgoutput.Value, type_name: str) -> tuple[str, list[str | None]]:
        """
        A boolean expression for *value* in text form, and its parameters.

        *type_name* is PostgreSQL's own spelling of the column's type (`format_type`).
        """
        text = value if isinstance(value, str) else None
        typed = f"%s::{type_name.replace('%', '%%')}"
        parameters = [text, self.operand]
        if self.operator == "is":
            expression, parameters = f"{typed} is {self.operand}", [text]
        elif self.operator == "in":
            expression = f"{typed} = any({typed}[])"
        elif self.operator in PATTERNS:
            expression = f"{typed} {PATTERNS[self.operator]} %s"
        else:
            expression = f"{typed} {COMPARISONS[self.operator]} {typed}"
        return (f"not ({expression})" if self.negated else f"({expression})"), parameters


Filter = tuple[Condition, ...]


def parse(text: str) -> Filter:
    """Read a filter; an empty one holds always. Raises: FilterError."""
    if not text.strip():
        return ()
    return tuple(_condition(part.strip()) for part in _split(text))


def sql(
    filter_: Filter, row: Mapping[str, pgoutput.Value], types: Mapping[str, str]
) -> tuple[str, list[str | None]]:
    """One boolean expression for all conditions; a column missing from *row* fails it."""
    if any(condition.column not in row for condition in filter_):
        return "false", []
    expressions, parameters = ["true"], []
    for condition in filter_:
        expression, values = condition.sql(row[condition.column], types[condition.column])
        expressions.append(expression)
        parameters += values
    # A comparison with null is null, which is as good as false.
    return f"coalesce({' and '.join(expressions)}, false)", parameters


def _condition(text: str) -> Condition:
    match = re.fullmatch(r"([^=]+)=(not\.)?([a-z]+)\.(.*)", text, re.DOTALL)
    if match is None:
        raise FilterError(f"Error parsing `filter` params: {text!r}")
    column, negation, operator, operand = match.groups()
    if operator == "in":
        operand = _array(operand)
    elif operator in COMPARISONS or operator in PATTERNS:
        operand = _unquoted(operand)
    elif operator != "is":
        raise FilterError(f"Error parsing `filter` params: unknown operator {operator!r}")
    elif operand not in TRUTHS:
        raise FilterError("invalid value for is filter: must be null, true, false, or unknown")
    return Condition(
        column=column, operator=operator, operand=operand, negated=negation is not None
    )


def _array(operand: str) -> str:
    if not (operand.startswith("(") and operand.endswith(")")):
        raise FilterError("`in` filter value must be wrapped by parentheses")
    if sum(1 for _ in _split(operand[1:-1])) > MAX_IN_VALUES:
        raise FilterError(f"too many values for `in` filter. Maximum {MAX_IN_VALUES}")
    return "{" + operand[1:-1] + "}"


def _unquoted(operand: str) -> str:
    quoted = re.fullmatch(r'"((?:[^"\\]|\\.)*)"', operand, re.DOTALL)
    return re.sub(r"\\(.)", r"\1", quoted[1], flags=re.DOTALL) if quoted else operand


#: A comma that separates, or something whole that may hold commas of its own.
PIECE = re.compile(
    r"""
    (?P<comma>,)
    | (?:\A|(?<=[.(,]))"(?:[^"\\]|\\.)*"    # a quoted value
    | \((?:[^()"]|"(?:[^"\\]|\\.)*")*\)   # a list in parentheses
    | .
    """,
    re.VERBOSE | re.DOTALL,
)


def _split(text: str) -> Iterator[str]:
    part = ""
    for match in PIECE.finditer(text):
        if match["comma"]:
            yield part
            part = ""
        else:
            part += match.group()
    yield part
