"""The JSON body of a request."""

import dataclasses
import json
from typing import Any

from devstack.rest import errors


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Rows:
    """Rows to insert, or the one row of an update."""

    #: A JSON array of objects, as sent: PostgreSQL reads it, so no number loses digits.
    text: str
    #: The keys that every row has.
    keys: tuple[str, ...]


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Arguments:
    text: str
    #: Keys of the object; None if the body is no object.
    keys: frozenset[str] | None


def rows(raw: bytes, *, same_keys: bool) -> Rows:
    """
    Read an object or an array of objects; with *same_keys* all must have the same keys.

    Raises: InvalidBodyError.
    """
    text, value = _parse(raw)
    listed = value if isinstance(value, list) else [value]
    if not all(isinstance(row, dict) for row in listed):
        raise errors.InvalidBodyError(details="expecting an object or an array of objects")
    keys = tuple(listed[0]) if listed else ()
    if same_keys and any(row.keys() != listed[0].keys() for row in listed):
        raise errors.InvalidBodyError("All object keys must match")
    return Rows(text=text if isinstance(value, list) else f"[{text}]", keys=keys)


def arguments(raw: bytes) -> Arguments:
    """Read the arguments of a function; no body means none. Raises: InvalidBodyError."""
    text, value = _parse(raw or b"{}")
    return Arguments(text=text, keys=frozenset(value) if isinstance(value, dict) else None)


def _parse(raw: bytes) -> tuple[str, Any]:
    try:
        text = raw.decode()
        return text, json.loads(text, parse_constant=_refuse)
    except (ValueError, RecursionError):
        raise errors.InvalidBodyError from None


def _refuse(constant: str) -> Any:
    # Python reads NaN and Infinity; JSON has neither.
    raise ValueError(constant)
