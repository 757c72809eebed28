"""What happens around every request, from the outside in."""

import re
import time
from http import HTTPStatus
from typing import Final
from uuid import uuid4

from aiohttp import hdrs, web
from aiohttp.typedefs import Handler

from api import answers, keys
from api.problems import Problem, problem_of
from runtime import logs
from s3_sam3.contracts.errors import ErrorCode


log = logs.get_logger(__name__)

_REQUEST_ID: Final = re.compile(r"[A-Za-z0-9._-]{1,64}")
_QUIET: Final = frozenset({"get_health", "get_ready", "get_metrics"})
"""Operations that a program asks for every few seconds; they are counted, not logged."""

_ANY_ORIGIN: Final = "*"
_EXPOSED_HEADERS: Final = "X-Request-Id, Retry-After, Idempotent-Replayed, Location, Allow"
_PREFLIGHT_HEADERS: Final = {
    hdrs.ACCESS_CONTROL_ALLOW_METHODS: "GET, POST, PATCH, DELETE",
    hdrs.ACCESS_CONTROL_ALLOW_HEADERS: "Authorization, Content-Type, Idempotency-Key, X-Request-Id",
    hdrs.ACCESS_CONTROL_MAX_AGE: "7200",
}


@web.middleware
async def observe(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Name the request, count it and log its answer."""
    offered = request.headers.get(answers.REQUEST_ID_HEADER, "")
    request_id = offered if _REQUEST_ID.fullmatch(offered) else uuid4().hex
    request[answers.REQUEST_ID] = request_id
    metrics = request.app[keys.METRICS]
    operation = request.match_info.route.name or "none"
    started = time.perf_counter()
    with logs.bound(request_id=request_id), request.app[keys.OPEN_REQUESTS].one():
        response = await handler(request)
        seconds = time.perf_counter() - started
        metrics.requests.labels(operation, str(response.status)).inc()
        metrics.seconds.labels(operation).observe(seconds)
        if operation not in _QUIET:
            log.info(
                "request_answered",
                operation=operation,
                method=request.method,
                path=request.path,
                status=response.status,
                milliseconds=round(seconds * 1000, 1),
            )
    return response


@web.middleware
async def cors(request: web.Request, handler: Handler) -> web.StreamResponse:
    """
    Answer preflights, and mark every answer, errors included, with the origin that may read it.

    Callers sign in with a header and never with cookies, so credentials are not allowed, and the
    default `*` gives a foreign page nothing that its user did not hand to it.
    """
    if (
        request.method == hdrs.METH_OPTIONS
        and hdrs.ACCESS_CONTROL_REQUEST_METHOD in request.headers
    ):
        response: web.StreamResponse = web.Response(
            status=HTTPStatus.NO_CONTENT, headers=_PREFLIGHT_HEADERS
        )
    else:
        response = await handler(request)
    origins = request.app[keys.SETTINGS].cors_origins
    origin = request.headers.get(hdrs.ORIGIN)
    if _ANY_ORIGIN in origins:
        origin = _ANY_ORIGIN
    else:
        # The answer depends on the asking page, and a shared cache must know.
        response.headers.add(hdrs.VARY, hdrs.ORIGIN)
    if origin == _ANY_ORIGIN or origin in origins:
        response.headers[hdrs.ACCESS_CONTROL_ALLOW_ORIGIN] = origin
        response.headers[hdrs.ACCESS_CONTROL_EXPOSE_HEADERS] = _EXPOSED_HEADERS
    return response


@web.middleware
async def error_envelope(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Turn every failure into an envelope; an unforeseen one is logged in full."""
    try:
        return await handler(request)
    # Every failure: the contract promises an envelope.
    except Exception as error:
        problem = problem_of(error)
        if problem.code is ErrorCode.INTERNAL:
            log.exception("request_failed")
        elif problem.code is ErrorCode.UPSTREAM_UNAVAILABLE:
            log.warning("upstream_unavailable", error=repr(error.__cause__ or error))
        return answers.refused(request, problem)


@web.middleware
async def authenticate(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Check the token, where the route is not public."""
    if request.match_info.route.name in request.app[keys.WITH_TOKEN]:
        header = request.headers.get("Authorization")
        request[keys.PRINCIPAL] = await request.app[keys.AUTHENTICATOR].principal(header)
    return await handler(request)


@web.middleware
async def refuse_while_stopping(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Refuse what comes on kept-alive connections after the stop has begun."""
    if request.app[keys.STOPPING].is_set():
        raise Problem(ErrorCode.SHUTTING_DOWN, headers={"Connection": "close"})
    return await handler(request)


ALL: Final = (observe, cors, error_envelope, refuse_while_stopping, authenticate)
