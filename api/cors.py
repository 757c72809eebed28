"""
Which pages of which origins may call (CORS).

Callers sign in with a header and never with cookies, so credentials are not allowed and the wide
default `*` gives a foreign page nothing that its user did not hand to it.
"""

from typing import Final

from aiohttp import hdrs, web


_METHODS: Final = "GET, POST, PATCH, DELETE"
_HEADERS: Final = "Authorization, Content-Type, Idempotency-Key, X-Request-Id"
_EXPOSED: Final = "X-Request-Id, Retry-After, Idempotent-Replayed, Location, Allow"
_PREFLIGHT_SECONDS: Final = "7200"
_ANY: Final = "*"


def is_preflight(request: web.Request) -> bool:
    """Whether a browser asks before it asks."""
    return (
        request.method == hdrs.METH_OPTIONS
        and hdrs.ORIGIN in request.headers
        and hdrs.ACCESS_CONTROL_REQUEST_METHOD in request.headers
    )


def preflight() -> web.Response:
    """The answer to every preflight; `allow` adds the origin, or leaves it out."""
    return web.Response(
        status=204,
        headers={
            hdrs.ACCESS_CONTROL_ALLOW_METHODS: _METHODS,
            hdrs.ACCESS_CONTROL_ALLOW_HEADERS: _HEADERS,
            hdrs.ACCESS_CONTROL_MAX_AGE: _PREFLIGHT_SECONDS,
        },
    )


def allow(request: web.Request, response: web.StreamResponse, origins: frozenset[str]) -> None:
    """Let the page read *response* if its origin is among *origins*; errors included."""
    if _ANY in origins:
        response.headers[hdrs.ACCESS_CONTROL_ALLOW_ORIGIN] = _ANY
    else:
        # The answer depends on who asks, and a shared cache must know.
        response.headers.add(hdrs.VARY, hdrs.ORIGIN)
        origin = request.headers.get(hdrs.ORIGIN)
        if origin not in origins:
            return
        response.headers[hdrs.ACCESS_CONTROL_ALLOW_ORIGIN] = str(origin)
    response.headers[hdrs.ACCESS_CONTROL_EXPOSE_HEADERS] = _EXPOSED
