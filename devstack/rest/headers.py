"""The request headers `Accept` and `Prefer`."""

import dataclasses
import enum
from collections.abc import Iterable

from devstack.rest import errors


_ARRAY = "application/vnd.pgrst.array"
_OBJECT = "application/vnd.pgrst.object"
_CHARSET = "; charset=utf-8"


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Shape:
    #: Value of the answer's Content-Type.
    content_type: str
    #: True when exactly one row is wanted, as an object.
    single: bool = False
    strip_nulls: bool = False


JSON = Shape(content_type="application/json" + _CHARSET)

_SHAPES = {
    ("*/*", ""): JSON,
    ("application/*", ""): JSON,
    ("application/json", ""): JSON,
    (_ARRAY, ""): JSON,
    (_ARRAY, "stripped"): Shape(
        content_type=f"{_ARRAY}+json;nulls=stripped{_CHARSET}", strip_nulls=True
    ),
    (_OBJECT, ""): Shape(content_type=f"{_OBJECT}+json{_CHARSET}", single=True),
    (_OBJECT, "stripped"): Shape(
        content_type=f"{_OBJECT}+json;nulls=stripped{_CHARSET}", single=True, strip_nulls=True
    ),
}


def accept(header: str | None) -> Shape:
    """The first shape in the `Accept` *header* that the gateway has. Raises: MediaTypeError."""
    offers = [offer.strip() for offer in (header or "*/*").split(",")]
    for offer in offers:
        if shape := _shape(offer):
            return shape
    raise errors.MediaTypeError(
        f"None of these media types are available: {', '.join(offers)}",
        hint="The devstack answers JSON only: no CSV, query plans, GeoJSON or binary.",
    )


def _shape(offer: str) -> Shape | None:
    kind, *parameters = [part.strip().lower() for part in offer.split(";")]
    nulls = next((value[6:] for value in parameters if value.startswith("nulls=")), "")
    bare = kind.removesuffix("+json") if kind.startswith("application/vnd.pgrst.") else kind
    return _SHAPES.get((bare, nulls))


class Resolution(enum.StrEnum):
    """What an insert does with a row that exists."""

    MERGE = "merge-duplicates"
    IGNORE = "ignore-duplicates"


_CHOICES: dict[str, frozenset[str]] = {
    "return": frozenset({"minimal", "representation"}),
    "count": frozenset({"exact", "planned", "estimated"}),
    "resolution": frozenset(Resolution),
    "missing": frozenset({"default", "null"}),
    "handling": frozenset({"strict", "lenient"}),
}
_MAX_AFFECTED = "max-affected"


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Preferences:
    """What the `Prefer` headers ask for."""

    #: Answer a write with its rows.
    wants_rows: bool = False
    #: Say how many rows there are. Every kind of count is exact here.
    count: bool = False
    resolution: Resolution | None = None
    #: `missing=default`: absent keys of a bulk insert take the column's default.
    missing_is_default: bool = False
    #: Upper bound of rows that a write may touch; only with `handling=strict`.
    max_affected: int | None = None
    #: The preferences above as sent, for `Preference-Applied`.
    applied: tuple[str, ...] = ()


def prefer(headers: Iterable[str]) -> Preferences:
    """Read all `Prefer` headers. Raises: InvalidPreferencesError when handling is strict."""
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
    limit = said.get(_MAX_AFFECTED)
    return Preferences(
        wants_rows=said.get("return") == "representation",
        count="count" in said,
        resolution=Resolution(said["resolution"]) if "resolution" in said else None,
        missing_is_default=said.get("missing") == "default",
        max_affected=int(limit) if limit is not None else None,
        applied=tuple(f"{name}={value}" for name, value in said.items()),
    )
