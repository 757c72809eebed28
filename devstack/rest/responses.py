"""Turn outcomes and errors into HTTP answers."""

import json
from http import HTTPStatus

import multidict
from aiohttp import web

from devstack.rest import errors, ranges
from devstack.rest.headers import JSON, Preferences, Resolution, Shape
from devstack.rest.plan import Outcome
from devstack.rest.ranges import Window


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
    headers = _applied(preferences, "count", "handling", "max-affected")
    headers["Content-Range"] = ranges.content_range(window.offset, outcome.count, total)
    return _answer(outcome, status, headers, shape)


def called_void(outcome: Outcome, preferences: Preferences) -> web.Response:
    headers = _applied(preferences, "handling", "max-affected")
    return _answer(outcome, HTTPStatus.NO_CONTENT, headers, None)


def inserted(outcome: Outcome, preferences: Preferences, shape: Shape) -> web.Response:
    """Answer a POST on a table: 200 if an upsert found every row there already."""
    headers = _applied(preferences, "return", "count", "resolution", "missing", "handling")
    headers["Content-Range"] = f"*/{outcome.count if preferences.count else '*'}"
    only_updated = outcome.count <= outcome.updated
    merged = preferences.resolution is Resolution.MERGE
    status = HTTPStatus.OK if merged and only_updated else HTTPStatus.CREATED
    return _answer(outcome, status, headers, shape if preferences.wants_rows else None)


def changed(
    outcome: Outcome, preferences: Preferences, shape: Shape, *, deleted: bool
) -> web.Response:
    headers = _applied(preferences, "return", "count", "missing", "handling", "max-affected")
    rows = f"0-{outcome.count - 1}" if outcome.count and not deleted else "*"
    headers["Content-Range"] = f"{rows}/{outcome.count if preferences.count else '*'}"
    status = HTTPStatus.OK if preferences.wants_rows else HTTPStatus.NO_CONTENT
    return _answer(outcome, status, headers, shape if preferences.wants_rows else None)


def _answer(outcome: Outcome, status: int, headers: Headers, shape: Shape | None) -> web.Response:
    """Send the outcome, without body if *shape* is None."""
    if shape is not None:
        headers["Content-Type"] = shape.content_type
    return web.Response(
        status=status,
        body=outcome.body.encode() if shape is not None else None,
        headers=headers,
    )


def _applied(preferences: Preferences, *names: str) -> Headers:
    applied = [one for one in preferences.applied if one.partition("=")[0] in names]
    return Headers({"Preference-Applied": ", ".join(applied)} if applied else {})


def _encoded(text: str) -> bytes:
    # A request may hold half a surrogate pair, and an error quote it.
    return text.encode(errors="replace")
