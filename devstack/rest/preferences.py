"""The `Prefer` request header."""

import dataclasses
import enum
from collections.abc import Iterable

from devstack.rest import errors


class Return(enum.StrEnum):
    """What a write answers with."""

    MINIMAL = "minimal"
    HEADERS_ONLY = "headers-only"
    REPRESENTATION = "representation"


class Count(enum.StrEnum):
    """How the total in Content-Range is found."""

    EXACT = "exact"
    PLANNED = "planned"
    ESTIMATED = "estimated"


class Resolution(enum.StrEnum):
    """What an insert does with a row that exists."""

    MERGE = "merge-duplicates"
    IGNORE = "ignore-duplicates"


_CHOICES: dict[str, frozenset[str]] = {
    "return": frozenset(Return),
    "count": frozenset(Count),
    "resolution": frozenset(Resolution),
    "missing": frozenset({"default", "null"}),
    "tx": frozenset({"commit", "rollback"}),
    "handling": frozenset({"strict", "lenient"}),
}
_MAX_AFFECTED = "max-affected"


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Preferences:
    """What the caller prefers, each None when not said."""

    returning: Return | None = None
    count: Count | None = None
    resolution: Resolution | None = None
    #: True for `missing=default`: absent keys of a bulk insert take the column's default.
    missing_is_default: bool = False
    rollback: bool = False
    #: Upper bound of rows a write may touch; only with `handling=strict`.
    max_affected: int | None = None
    #: The preferences above as sent, for `Preference-Applied`.
    applied: tuple[str, ...] = ()

    @property
    def wants_rows(self) -> bool:
        """True if a write must answer with the rows."""
        return self.returning is Return.REPRESENTATION


def parse(headers: Iterable[str]) -> Preferences:
    """Parse all `Prefer` headers. Raises: InvalidPreferencesError when handling is strict."""
    said: dict[str, str] = {}
    invalid: list[str] = []
    for token in (token.strip() for header in headers for token in header.split(",")):
        name, _, value = token.partition("=")
        if not token or name in said:
            continue
        if value in _CHOICES.get(name, ()) or (name == _MAX_AFFECTED and value.isdecimal()):
            said[name] = value
        else:
            invalid.append(token)
    strict = said.get("handling") == "strict"
    if strict and invalid:
        raise errors.InvalidPreferencesError(details=f"Invalid preferences: {', '.join(invalid)}")
    if not strict:
        said.pop(_MAX_AFFECTED, None)
    return _preferences(said)


def _preferences(said: dict[str, str]) -> Preferences:
    limit = said.get(_MAX_AFFECTED)
    return Preferences(
        returning=Return(said["return"]) if "return" in said else None,
        count=Count(said["count"]) if "count" in said else None,
        resolution=Resolution(said["resolution"]) if "resolution" in said else None,
        missing_is_default=said.get("missing") == "default",
        rollback=said.get("tx") == "rollback",
        max_affected=int(limit) if limit is not None else None,
        applied=tuple(f"{name}={value}" for name, value in said.items()),
    )
