"""Parse filters: `field=not.eq.value` and the trees of `and=` and `or=`."""

import re
from collections.abc import Callable
from typing import Literal

from devstack.rest.query import Condition, Field, Filter, Logic
from devstack.rest.scanner import Scanner
from devstack.rest.select_syntax import MAX_DEPTH, field, json_path


#: Operators whose right side may be a list: `eq(any).{1,2}`.
QUANTIFIABLE = frozenset({"eq", "gt", "gte", "lt", "lte", "like", "ilike", "match", "imatch"})
SIMPLE = QUANTIFIABLE | {
    "neq",
    "isdistinct",
    "cs",
    "cd",
    "ov",
    "sl",
    "sr",
    "nxr",
    "nxl",
    "adj",
}
FULL_TEXT = frozenset({"fts", "plfts", "phfts", "wfts"})
OPERATORS = SIMPLE | FULL_TEXT | {"in", "is"}
IS_VALUES = frozenset({"null", "not_null", "true", "false", "unknown"})

_OPERATOR = re.compile(r"(\w+)(?:\(([\w ]*)\))?\.")
_LOGIC = re.compile(r"(not\.)?(and|or)(?=\s*\()")
_LIST_VALUE = re.compile(r"[^,)]*")
_ARRAY = re.compile(r"\{[^{}]*\}")

ReadValue = Callable[[Scanner], str]


def parse_filter(key: str, value: str) -> tuple[tuple[str, ...], Filter]:
    """Parse one parameter into the embedded relation it applies to and a filter."""
    path, filtered = _tree_path(key)
    return path, _operation(Scanner(value, "filter"), filtered, _whole_rest)


def parse_logic(key: str, value: str) -> tuple[tuple[str, ...], Logic]:
    """Parse `or=(…)`, `not.and=(…)` or `relation.or=(…)`."""
    *path, operator = key.split(".")
    negated = bool(path) and path[-1] == "not"
    scanner = Scanner(value, "logic tree")
    terms = _terms(scanner, 0)
    scanner.end()
    logic = Logic(operator=_and_or(operator), terms=terms, negated=negated)
    return tuple(path[:-1] if negated else path), logic


def is_operation(value: str) -> bool:
    """True if *value* starts with an operator; a function's argument sent by GET does not."""
    found = _OPERATOR.match(value.removeprefix("not."))
    return found is not None and found.group(1) in OPERATORS


def _tree_path(key: str) -> tuple[tuple[str, ...], Field]:
    scanner = Scanner(key, "tree path")
    names = [scanner.name()]
    while scanner.accept("."):
        names.append(scanner.name())
    path = json_path(scanner)
    scanner.end()
    return tuple(names[:-1]), Field(names[-1], path)


def _operation(scanner: Scanner, filtered: Field, read_value: ReadValue) -> Filter:
    negated = scanner.accept("not.")
    start = scanner.position
    found = scanner.match(_OPERATOR)
    operator, modifier = found.groups() if found else ("", None)
    if operator not in OPERATORS:
        scanner.position = start
        scanner.fail("expecting operator (eq, gt, ...)")
    if modifier is not None and not _modifier_fits(operator, modifier):
        scanner.position = start
        scanner.fail(f'operator "{operator}" does not take "{modifier}"')
    return Filter(
        field=filtered,
        operator=operator,
        value=_value(scanner, operator, read_value),
        negated=negated,
        modifier=modifier,
    )


def _modifier_fits(operator: str, modifier: str) -> bool:
    if operator in FULL_TEXT:
        return bool(modifier)
    return operator in QUANTIFIABLE and modifier in {"any", "all"}


def _value(scanner: Scanner, operator: str, read_value: ReadValue) -> str | tuple[str, ...]:
    if operator == "in":
        return _list(scanner, read_value)
    start = scanner.position
    value = read_value(scanner)
    if operator == "is" and value.lower() not in IS_VALUES:
        scanner.position = start
        scanner.fail("expecting null, not_null, or trilean value (unknown, true, false)")
    return value.lower() if operator == "is" else value


def _list(scanner: Scanner, read_value: ReadValue) -> tuple[str, ...]:
    scanner.blanks()
    scanner.expect("(")
    values = [_list_element(scanner)]
    while scanner.accept(","):
        values.append(_list_element(scanner))
    scanner.expect(")")
    scanner.blanks()
    if read_value is _whole_rest:
        scanner.end()
    return () if values == [""] else tuple(values)


def _list_element(scanner: Scanner) -> str:
    start = scanner.position
    quoted = scanner.quoted()
    if quoted is not None and scanner.peek() in {",", ")", ""}:
        return quoted
    # A quote that does not span the element is part of the text, as in PostgREST.
    scanner.position = start
    found = scanner.match(_LIST_VALUE)
    return found.group() if found else ""


def _whole_rest(scanner: Scanner) -> str:
    rest = scanner.text[scanner.position :]
    scanner.position = len(scanner.text)
    return rest


def _logic_value(scanner: Scanner) -> str:
    if (array := scanner.match(_ARRAY)) is not None:
        return array.group()
    return _list_element(scanner)


def _terms(scanner: Scanner, depth: int) -> tuple[Condition, ...]:
    if depth > MAX_DEPTH:
        scanner.fail(f"expecting at most {MAX_DEPTH} levels of logic")
    scanner.blanks()
    scanner.expect("(")
    terms = [_term(scanner, depth)]
    while scanner.accept(","):
        terms.append(_term(scanner, depth))
    scanner.expect(")")
    scanner.blanks()
    return tuple(terms)


def _term(scanner: Scanner, depth: int) -> Condition:
    scanner.blanks()
    if found := scanner.match(_LOGIC):
        negation, operator = found.groups()
        terms = _terms(scanner, depth + 1)
        return Logic(operator=_and_or(operator), terms=terms, negated=bool(negation))
    filtered = field(scanner)
    scanner.expect(".")
    return _operation(scanner, filtered, _logic_value)


def _and_or(word: str) -> Literal["and", "or"]:
    return "and" if word == "and" else "or"
