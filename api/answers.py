"""The envelope, written in one place."""

from collections.abc import Mapping
from datetime import UTC, datetime
from http import HTTPStatus
from typing import Any, Final

from aiohttp import web
from pydantic import BaseModel

from api.problems import Problem
from s3_sam3.contracts.bodies import Envelope, ErrorBody, Meta
from s3_sam3.contracts.errors import FACTS


REQUEST_ID: Final = web.RequestKey("request_id", str)
"""The request's name in logs, in `meta` and in the X-Request-Id header."""

REQUEST_ID_HEADER: Final = "X-Request-Id"


def ok(
    request: web.Request,
    data: BaseModel,
    *,
    status: HTTPStatus = HTTPStatus.OK,
    headers: Mapping[str, str] | None = None,
) -> web.Response:
    """Answer *data*."""
    envelope = Envelope[Any](success=True, data=data, meta=_meta(request))
    return _json(request, envelope.model_dump_json().encode(), status, headers)


def ok_json(request: web.Request, data: bytes) -> web.Response:
    """Answer large *data*, which is JSON already, compressed for clients that accept that."""
    meta = _meta(request).model_dump_json().encode()
    body = b'{"success":true,"data":' + data + b',"error":null,"meta":' + meta + b"}"
    response = _json(request, body, HTTPStatus.OK, None)
    response.enable_compression()
    return response


def refused(request: web.Request, problem: Problem) -> web.Response:
    """Answer *problem*, with the status and message of its code."""
    fact = FACTS[problem.code]
    body = ErrorBody(
        code=problem.code,
        message=fact.message,
        details=None if problem.details is None else dict(problem.details),
        retryable=fact.retryable,
    )
    envelope = Envelope[Any](success=False, error=body, meta=_meta(request))
    return _json(request, envelope.model_dump_json().encode(), fact.status, problem.all_headers)


def _meta(request: web.Request) -> Meta:
    return Meta(request_id=request[REQUEST_ID], timestamp=datetime.now(UTC))


def _json(
    request: web.Request, body: bytes, status: int, headers: Mapping[str, str] | None
) -> web.Response:
    return web.Response(
        body=body,
        status=status,
        content_type="application/json",
        headers={
            **(headers or {}),
            REQUEST_ID_HEADER: request[REQUEST_ID],
            "Cache-Control": "no-store",
        },
    )
