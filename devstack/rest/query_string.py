"""Parse a whole query string into a `Query`."""

import collections
import urllib.parse
from collections.abc import Callable

from devstack.rest import errors, filter_syntax, select_syntax
from devstack.rest.query import Level, Path, Query


_RESERVED = frozenset({"select", "columns", "on_conflict"})
#: The gateway takes the API key here too, for browsers that cannot set headers.
_NOT_OURS = frozenset({"apikey"})
_LOGIC = frozenset({"and", "or"})

Pairs = list[tuple[str, str]]


def parse(query_string: str, *, is_call: bool = False) -> Query:
    """
    Parse a raw (percent-encoded) query string.

    With *is_call* a parameter without operator is an argument of the function; otherwise it is
    an error. Raises: QueryParameterError and other RequestErrors.
    """
    pairs = [
        (key, value)
        for key, value in urllib.parse.parse_qsl(query_string, keep_blank_values=True)
        if key not in _NOT_OURS
    ]
    reserved = {key: value for key, value in reversed(pairs) if key in _RESERVED}
    arguments: Pairs = []
    levels: dict[Path, Level] = collections.defaultdict(Level)
    levels[()] = Level()
    for key, value in pairs:
        if key in reserved:
            continue
        if is_call and "." not in key and _is_argument(key, value):
            arguments.append((key, value))
        else:
            _read_level(levels, key, value)
    return Query(
        select=select_syntax.parse_select(reserved.get("select", "*")),
        levels=dict(levels),
        columns=_names(reserved, "columns"),
        on_conflict=_names(reserved, "on_conflict"),
        arguments=tuple(arguments),
    )


def _names(reserved: dict[str, str], key: str) -> tuple[str, ...] | None:
    text = reserved.get(key)
    return select_syntax.parse_names(text, f"{key} parameter") if text else None


def _is_argument(key: str, value: str) -> bool:
    return key not in _LEVEL_READERS and key not in _LOGIC and not filter_syntax.is_operation(value)


def _read_level(levels: dict[Path, Level], key: str, value: str) -> None:
    *path, word = key.split(".")
    if word in _LOGIC:
        where, logic = filter_syntax.parse_logic(key, value)
        levels[where].conditions.append(logic)
    elif word in _LEVEL_READERS:
        _LEVEL_READERS[word](levels[tuple(path)], value)
    else:
        where, parsed = filter_syntax.parse_filter(key, value)
        levels[where].conditions.append(parsed)


def _read_order(level: Level, value: str) -> None:
    level.order = select_syntax.parse_order(value) if value else ()


def _read_limit(level: Level, value: str) -> None:
    limit = _integer("limit", value)
    if limit < 0:
        raise errors.InvalidRangeError(details="Limit should be greater than or equal to zero.")
    level.limit = limit


def _read_offset(level: Level, value: str) -> None:
    level.offset = max(0, _integer("offset", value))


#: PostgreSQL's bigint; a larger number could not be bound.
_LARGEST = 2**63 - 1


def _integer(name: str, value: str) -> int:
    try:
        return min(int(value), _LARGEST)
    except ValueError:
        raise errors.QueryParameterError(
            f'"failed to parse {name} parameter ({value[:40]})"', details="expecting an integer"
        ) from None


_LEVEL_READERS: dict[str, Callable[[Level, str], None]] = {
    "order": _read_order,
    "limit": _read_limit,
    "offset": _read_offset,
}
