"""The parts of a request's query string, after parsing and before any SQL."""

import dataclasses
import enum
from typing import Literal


class Nulls(enum.StrEnum):
    FIRST = "nullsfirst"
    LAST = "nullslast"


@dataclasses.dataclass(frozen=True, slots=True)
class Step:
    """One `->` or `->>` of a JSON path."""

    #: A key, or an index into an array.
    operand: str | int
    #: True for `->>`.
    as_text: bool


@dataclasses.dataclass(frozen=True, slots=True)
class Field:
    """A column, or a place inside a JSON column."""

    name: str
    path: tuple[Step, ...] = ()

    @property
    def is_star(self) -> bool:
        return self.name == "*" and not self.path


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Column:
    """A selected field: `alias:field::cast`."""

    field: Field
    alias: str | None = None
    cast: str | None = None


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Embed:
    """A selected relation: `alias:target!hint!inner(items)` or `...target(items)`."""

    target: str
    items: "tuple[SelectItem, ...]"
    alias: str | None = None
    hint: str | None = None
    inner: bool = False
    spread: bool = False

    @property
    def name(self) -> str:
        """The key it has in the answer and in `name.filter=` parameters."""
        return self.alias or self.target


SelectItem = Column | Embed


#: What `select=*`, or no `select=`, asks for.
EVERYTHING: tuple[SelectItem, ...] = (Column(field=Field("*")),)


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Filter:
    """One comparison: `field=not.operator(modifier).value`."""

    field: Field
    operator: str
    #: Text as sent; a tuple for `in`.
    value: str | tuple[str, ...]
    negated: bool = False
    #: `any` or `all`; for full-text search the language.
    modifier: str | None = None


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Logic:
    """A tree of conditions: `not.and(…)` or `or(…)`."""

    operator: Literal["and", "or"]
    terms: "tuple[Condition, ...]"
    negated: bool = False


Condition = Filter | Logic


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class OrderTerm:
    field: Field
    descending: bool = False
    nulls: Nulls | None = None


@dataclasses.dataclass(slots=True, kw_only=True)
class Level:
    """What applies to one level of the request: the table itself, or one embedded relation."""

    conditions: list[Condition] = dataclasses.field(default_factory=list)
    order: tuple[OrderTerm, ...] = ()
    limit: int | None = None
    offset: int = 0


#: Names of the embedded relations from the table down; () is the table itself.
Path = tuple[str, ...]


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Query:
    select: tuple[SelectItem, ...]
    levels: dict[Path, Level]
    columns: tuple[str, ...] | None = None
    on_conflict: tuple[str, ...] | None = None
    #: Parameters without an operator: the arguments of a function called by GET.
    arguments: tuple[tuple[str, str], ...] = ()

    @property
    def root(self) -> Level:
        return self.levels[()]
