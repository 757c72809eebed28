"""Parse `select=`, `order=`, and lists of names."""

import re

from devstack.rest import errors
from devstack.rest.query import Column, Embed, Field, Nulls, OrderTerm, SelectItem, Step
from devstack.rest.scanner import Scanner


_INDEX = re.compile(r"[+-]?\d+(?=->|::|[.,)]|\Z)")
_JSON_KEY = re.compile(r"(?:[^(\-:.,>)]|-(?!>))+")
_CAST = re.compile(r"[\w $]+(?:\[\])?")
_AGGREGATE = re.compile(r"\.(?:count|sum|avg|min|max)\(\)")
_SPREAD = "..."
#: Deeper requests are refused, before Python's own limit.
MAX_DEPTH = 20


def parse_select(text: str) -> tuple[SelectItem, ...]:
    """Parse `select=`. An empty text selects no column. Raises: QueryParameterError."""
    scanner = Scanner(text, "select parameter")
    if not text.strip():
        return ()
    items = _items(scanner, 0)
    scanner.end()
    return items


def parse_order(text: str) -> tuple[OrderTerm, ...]:
    """Parse `order=`. Raises: QueryParameterError, NotSupportedError."""
    scanner = Scanner(text, "order")
    terms = [_order_term(scanner)]
    while scanner.accept(","):
        terms.append(_order_term(scanner))
    scanner.end()
    return tuple(terms)


def parse_names(text: str, what: str) -> tuple[str, ...]:
    """Parse a comma-separated list of column names. Raises: QueryParameterError."""
    scanner = Scanner(text, what)
    names = [scanner.name()]
    scanner.blanks()
    while scanner.accept(","):
        names.append(scanner.name())
        scanner.blanks()
    scanner.end()
    return tuple(dict.fromkeys(names))


def field(scanner: Scanner) -> Field:
    """Take a field name and its JSON path."""
    name = scanner.name()
    return Field(name, json_path(scanner))


def json_path(scanner: Scanner) -> tuple[Step, ...]:
    """Take as many `->x` and `->>x` as follow."""
    steps: list[Step] = []
    while scanner.peek(2) == "->":
        as_text = scanner.accept("->>")
        if not as_text:
            scanner.expect("->")
        steps.append(Step(_operand(scanner), as_text))
    return tuple(steps)


def _operand(scanner: Scanner) -> str | int:
    if index := scanner.match(_INDEX):
        return int(index.group())
    if (quoted := scanner.quoted()) is not None:
        return quoted
    key = scanner.match(_JSON_KEY)
    if key is None:
        scanner.fail("expecting json key or index")
    return key.group().strip()


def _items(scanner: Scanner, depth: int) -> tuple[SelectItem, ...]:
    if depth > MAX_DEPTH:
        scanner.fail(f"expecting at most {MAX_DEPTH} levels of embedding")
    items = [_item(scanner, depth)]
    while scanner.accept(","):
        items.append(_item(scanner, depth))
    return tuple(items)


def _item(scanner: Scanner, depth: int) -> SelectItem:
    scanner.blanks()
    if scanner.accept(_SPREAD):
        return _embed(scanner, scanner.name(), None, depth, spread=True)
    if scanner.accept("*"):
        _end_of_item(scanner)
        return Column(field=Field("*"))
    name, alias = scanner.name(), None
    if scanner.peek() == ":" and scanner.peek(2) != "::":
        scanner.expect(":")
        name, alias = scanner.name(), name
    if scanner.peek(2) == "()" and name == "count":
        raise errors.AggregatesNotAllowedError
    if scanner.peek() in {"!", "("}:
        return _embed(scanner, name, alias, depth, spread=False)
    return _column(scanner, name, alias)


def _column(scanner: Scanner, name: str, alias: str | None) -> Column:
    selected = Field(name, json_path(scanner))
    cast = None
    if scanner.accept("::"):
        found = scanner.match(_CAST)
        if found is None:
            scanner.fail("expecting the name of a type")
        cast = found.group().strip()
    if scanner.match(_AGGREGATE):
        raise errors.AggregatesNotAllowedError
    _end_of_item(scanner)
    return Column(field=selected, alias=alias, cast=cast)


def _embed(scanner: Scanner, target: str, alias: str | None, depth: int, *, spread: bool) -> Embed:
    hint, inner = None, False
    while scanner.accept("!"):
        parameter = scanner.name()
        if parameter in {"inner", "left"}:
            inner = parameter == "inner"
        else:
            hint = parameter
    scanner.expect("(")
    scanner.blanks()
    items = () if scanner.peek() == ")" else _items(scanner, depth + 1)
    scanner.expect(")")
    _end_of_item(scanner)
    return Embed(target=target, items=items, alias=alias, hint=hint, inner=inner, spread=spread)


def _end_of_item(scanner: Scanner) -> None:
    scanner.blanks()
    if not scanner.at_end and scanner.peek() not in {",", ")"}:
        scanner.fail('expecting "->>", "->", "::", ")", "," or end of input')


def _order_term(scanner: Scanner) -> OrderTerm:
    ordered = field(scanner)
    if scanner.peek() == "(":
        raise errors.NotSupportedError(
            details=f"Ordering by a column of an embedded resource: order={scanner.text}"
        )
    descending = scanner.accept(".desc")
    if not descending:
        scanner.accept(".asc")
    nulls = next((nulls for nulls in Nulls if scanner.accept(f".{nulls}")), None)
    scanner.blanks()
    if not scanner.at_end and scanner.peek() != ",":
        scanner.fail('expecting "asc", "desc", "nullsfirst", "nullslast", "," or end of input')
    return OrderTerm(field=ordered, descending=descending, nulls=nulls)
