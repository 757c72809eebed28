"""An HTTP request and its JSON body, before the catalogue is consulted."""

import dataclasses
import json
from collections.abc import Mapping
from typing import Any

from aiohttp import web

from devstack.rest import catalogue, errors, headers, query_string
from devstack.rest.query import Query
from devstack.rest.transaction import Caller


PREFIX = "/rest/v1"
ANONYMOUS = "anon"

_JSON_TYPES = frozenset(
    {
        "application/json",
        "application/vnd.pgrst.object+json",
        "application/vnd.pgrst.array+json",
        "application/vnd.pgrst.object",
        "application/vnd.pgrst.array",
    }
)
_READS = frozenset({"GET", "HEAD"})


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class RestRequest:
    method: str
    query: Query
    preferences: headers.Preferences
    shape: headers.Shape
    #: The Range header, which only reads obey.
    range_header: str | None
    body: bytes

    @property
    def is_read(self) -> bool:
        return self.method in _READS


async def read(request: web.Request, *, is_call: bool) -> RestRequest:
    """The request, read. Raises: RequestError."""
    is_read = request.method in _READS
    _check_schema(request.headers.get("Accept-Profile" if is_read else "Content-Profile"))
    body = b"" if is_read else await request.read()
    if body and request.method in {"POST", "PATCH"}:
        _check_content_type(request.headers.get("Content-Type", "application/json"))
    return RestRequest(
        method=request.method,
        query=query_string.parse(request.rel_url.raw_query_string, is_call=is_call and is_read),
        preferences=headers.prefer(request.headers.getall("Prefer", ())),
        shape=headers.accept(request.headers.get("Accept")),
        range_header=request.headers.get("Range") if is_read else None,
        body=body,
    )


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


def role_of(claims: Mapping[str, Any]) -> str:
    """The role that *claims* name; without one the caller is anonymous."""
    return str(claims.get("role", ANONYMOUS))


def caller(request: web.Request, claims: Mapping[str, Any], known: catalogue.Catalogue) -> Caller:
    """The caller. Raises: DatabaseError for a role that the gateway may not become."""
    role = role_of(claims)
    if role not in known.roles:
        # The pool's user could become anyone, superusers included; `authenticator` could not.
        raise errors.DatabaseError(
            f'permission denied to set role "{role}"', code="42501", status=403
        )
    return Caller(
        role=role,
        claims=claims,
        method=request.method,
        path=request.path.removeprefix(PREFIX),
        headers={name.lower(): ", ".join(request.headers.getall(name)) for name in request.headers},
        role_settings=known.roles[role],
    )


def _check_schema(profile: str | None) -> None:
    if profile not in {None, catalogue.SCHEMA}:
        raise errors.UnacceptableSchemaError(
            f"Invalid schema: {profile}",
            hint=f"Only the following schemas are exposed: {catalogue.SCHEMA}",
        )


def _check_content_type(content_type: str) -> None:
    kind = content_type.partition(";")[0].strip().lower()
    if kind not in _JSON_TYPES:
        raise errors.ContentTypeError(
            f"Content-Type not acceptable: {kind}",
            hint="The devstack reads JSON only: no CSV, forms, text or binary.",
        )


def _parse(raw: bytes) -> tuple[str, Any]:
    try:
        text = raw.decode()
        return text, json.loads(text, parse_constant=_refuse)
    except (ValueError, RecursionError):
        raise errors.InvalidBodyError from None


def _refuse(constant: str) -> Any:
    # Python reads NaN and Infinity; JSON has neither.
    raise ValueError(constant)
