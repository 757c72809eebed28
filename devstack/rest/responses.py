"""Turn outcomes and errors into HTTP answers."""

import json
import urllib.parse
from typing import Any

import multidict
from aiohttp import web

from devstack.rest import catalogue, errors, ranges
from devstack.rest.media import JSON, Shape
from devstack.rest.plan import Outcome
from devstack.rest.preferences import Preferences, Resolution
from devstack.rest.ranges import Window


_CREATED = 201
_NO_CONTENT = 204
_STATUSES = range(100, 600)

Headers = multidict.CIMultiDict[str]


def failure(error: errors.RestError) -> web.Response:
    """The answer for *error*; `Proxy-Status` names its code where there is no body (HEAD)."""
    headers = Headers(error.headers)
    headers["Content-Type"] = JSON.content_type
    headers["Proxy-Status"] = f"PostgREST; error={error.code}"
    text = json.dumps(error.body(), ensure_ascii=False)
    return web.Response(status=error.status, body=_encoded(text), headers=headers)


def read(outcome: Outcome, window: Window, preferences: Preferences, shape: Shape) -> web.Response:
    """Answer a GET, or a call that returns something. Raises: InvalidRangeError."""
    total = outcome.total
    status = ranges.status(window.offset, outcome.count, total)
    headers = _applied(preferences, "count", "tx", "handling", "max-affected")
    headers["Content-Range"] = ranges.content_range(window.offset, outcome.count, total)
    return _answer(outcome, status, headers, shape)


def called_void(outcome: Outcome, preferences: Preferences) -> web.Response:
    """Answer a call of a function that returns nothing."""
    headers = _applied(preferences, "tx", "handling", "max-affected")
    return _answer(outcome, _NO_CONTENT, headers, None)


def inserted(
    outcome: Outcome, relation: catalogue.Relation, preferences: Preferences, shape: Shape
) -> web.Response:
    """Answer a POST on a table: 200 if an upsert found every row there already."""
    headers = _applied(preferences, "return", "count", "resolution", "missing", "tx", "handling")
    headers["Content-Range"] = f"*/{outcome.count if preferences.count else '*'}"
    if outcome.location is not None:
        headers["Location"] = _location(relation.name, outcome.location)
    only_updated = outcome.count <= outcome.updated
    merged = preferences.resolution is Resolution.MERGE
    status = ranges.OK if merged and only_updated else _CREATED
    return _answer(outcome, status, headers, shape if preferences.wants_rows else None)


def changed(
    outcome: Outcome, preferences: Preferences, shape: Shape, *, deleted: bool
) -> web.Response:
    """Answer a PATCH or DELETE."""
    headers = _applied(preferences, "return", "count", "missing", "tx", "handling", "max-affected")
    rows = f"0-{outcome.count - 1}" if outcome.count and not deleted else "*"
    headers["Content-Range"] = f"{rows}/{outcome.count if preferences.count else '*'}"
    status = ranges.OK if preferences.wants_rows else _NO_CONTENT
    return _answer(outcome, status, headers, shape if preferences.wants_rows else None)


def document(value: Any) -> web.Response:
    """*value* as JSON."""
    return web.Response(
        body=json.dumps(value, ensure_ascii=False).encode(),
        headers={"Content-Type": JSON.content_type},
    )


def _answer(outcome: Outcome, status: int, headers: Headers, shape: Shape | None) -> web.Response:
    """Send the outcome, without body if *shape* is None; the database may override the rest."""
    if shape is not None:
        headers["Content-Type"] = shape.content_type
    for name, value in _headers_of_database(outcome.response_headers):
        headers[name] = value
    return web.Response(
        status=_status_of_database(outcome.response_status) or status,
        body=outcome.body.encode() if shape is not None else None,
        headers=headers,
    )


def _applied(preferences: Preferences, *names: str) -> Headers:
    applied = [one for one in preferences.applied if one.partition("=")[0] in names]
    return Headers({"Preference-Applied": ", ".join(applied)} if applied else {})


def _location(relation: str, key: dict[str, str | None]) -> str:
    pairs = {name: "is.null" if value is None else f"eq.{value}" for name, value in key.items()}
    return f"/{urllib.parse.quote(relation)}?{urllib.parse.urlencode(pairs)}"


def _headers_of_database(setting: str | None) -> list[tuple[str, str]]:
    if setting is None:
        return []
    try:
        listed = json.loads(setting)
        pairs = [pair for entry in listed for pair in entry.items()]
    except (ValueError, TypeError, AttributeError):
        raise errors.GucHeadersError from None
    if not all(_is_header(value) for pair in pairs for value in pair):
        raise errors.GucHeadersError
    return pairs


def _is_header(value: Any) -> bool:
    # A line break would start another header.
    return isinstance(value, str) and not set(value) & {"\r", "\n", "\0"}


def _status_of_database(setting: str | None) -> int | None:
    if setting is None:
        return None
    if not setting.isdecimal() or int(setting) not in _STATUSES:
        raise errors.GucStatusError
    return int(setting)


def _encoded(text: str) -> bytes:
    # A request may hold half a surrogate pair, and an error quote it.
    return text.encode(errors="replace")
