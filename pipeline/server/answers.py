"""How the server answers: who may ask, and every error in the contract's form."""

import hmac
from collections.abc import Awaitable, Callable
from typing import Final

import structlog
from aiohttp import web

from pipeline.errors import Busy, PipelineError
from pipeline.server.metrics import Metrics
from pipeline.settings import Settings
from s3_sam3.contracts.errors import FACTS, ErrorCode
from s3_sam3.contracts.pipeline import API_KEY_HEADER


log = structlog.get_logger(__name__)

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]

SETTINGS: Final = web.AppKey("settings", Settings)
METRICS: Final = web.AppKey("metrics", Metrics)

#: Seconds after which to ask again when no model is ready; a full pipeline knows better.
_RETRY_AFTER: Final = 2

_OPEN_PATHS: Final = {"/health"}


@web.middleware
async def check_key(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Ask for the shared key on everything but `/health`, in constant time."""
    if request.path not in _OPEN_PATHS:
        sent = request.headers.get(API_KEY_HEADER, "").encode("utf-8", "surrogateescape")
        expected = request.app[SETTINGS].api_secret_key.get_secret_value().encode()
        if not hmac.compare_digest(sent, expected):
            raise PipelineError(
                f"Send the pipeline's API_SECRET_KEY as {API_KEY_HEADER}.",
                code=ErrorCode.UNAUTHENTICATED,
            )
    return await handler(request)


@web.middleware
async def answer_errors(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Say every error in the contract's form; the one place that catches all."""
    try:
        response = await handler(request)
    except PipelineError as error:
        return _refuse(request, error)
    except web.HTTPException as error:
        return _refuse(request, _from_http(error), error.headers.get("Allow"))
    except Exception:  # whatever it is, the caller gets an answer and the log the reason
        log.exception("request_crashed", path=request.path)
        return _refuse(request, PipelineError(code=ErrorCode.INTERNAL))
    request.app[METRICS].request(_route(request), "ok")
    return response


def error_body(error: PipelineError) -> dict[str, object]:
    """Say an error as the contract does."""
    retryable = FACTS[error.code].retryable
    return {"error": {"code": error.code, "message": error.message, "retryable": retryable}}


def json_answer(text: str) -> web.Response:
    """Answer with JSON that is already text."""
    return web.Response(text=text, content_type="application/json")


def _refuse(request: web.Request, error: PipelineError, allow: str | None = None) -> web.Response:
    """Answer with an error."""
    request.app[METRICS].request(_route(request), error.code.value)
    log.warning("request_refused", path=request.path, code=error.code, reason=error.message)
    status = FACTS[error.code].status
    response = web.json_response(error_body(error), status=status)
    if status == web.HTTPServiceUnavailable.status_code:
        seconds = error.seconds if isinstance(error, Busy) else _RETRY_AFTER
        response.headers["Retry-After"] = str(seconds)
    if allow:
        response.headers["Allow"] = allow
    return response


def _from_http(error: web.HTTPException) -> PipelineError:
    """Translate what aiohttp itself refuses: unknown paths, wrong methods, large bodies."""
    codes = {
        404: ErrorCode.NOT_FOUND,
        405: ErrorCode.METHOD_NOT_ALLOWED,
        413: ErrorCode.FILE_TOO_LARGE,
    }
    return PipelineError(code=codes.get(error.status, ErrorCode.INVALID_REQUEST))


def _route(request: web.Request) -> str:
    """The path as a label: routes by name, everything else as one, so that labels stay few."""
    resource = request.match_info.route.resource
    return resource.canonical if resource else "other"
