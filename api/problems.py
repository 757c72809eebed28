"""
Errors of the API, and the one place that turns foreign errors into an ErrorCode.

Handlers raise a Problem where they know the code. The middleware looks up all others here: those
of the database, of the object store and of aiohttp.
"""

from collections.abc import Mapping
from http import HTTPStatus
from typing import Any, Final

from aiohttp import web

from adapters import objects, rest
from s3_sam3.contracts.errors import FACTS, ErrorCode


class Problem(Exception):
    """A request that gets an error envelope; `code` says which, `details` what exactly."""

    def __init__(
        self,
        code: ErrorCode,
        details: Mapping[str, Any] | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__(code)
        self.code = code
        self.details = details
        self.headers = dict(headers or {})

    @property
    def all_headers(self) -> dict[str, str]:
        """The problem's own headers and those that its code asks for."""
        headers = dict(self.headers)
        fact = FACTS[self.code]
        if fact.retryable:
            headers.setdefault("Retry-After", str(_RETRY_AFTER_SECONDS.get(self.code, 1)))
        if fact.status == HTTPStatus.UNAUTHORIZED:
            headers.setdefault("WWW-Authenticate", "Bearer")
        return headers


_RETRY_AFTER_SECONDS: Final = {ErrorCode.UPSTREAM_UNAVAILABLE: 5, ErrorCode.RATE_LIMITED: 10}

_OUR_SQLSTATE: Final = "PT"
"""Begins the SQLSTATEs that our functions raise, with an ErrorCode as their message."""

_BY_SQLSTATE: Final = {
    "22001": ErrorCode.INVALID_REQUEST,  # longer than the column
    "22021": ErrorCode.INVALID_REQUEST,  # bytes that are no text, such as NUL
    "22P02": ErrorCode.INVALID_REQUEST,  # not of the column's type
    "22P05": ErrorCode.INVALID_REQUEST,  # a character that jsonb cannot hold
    "23502": ErrorCode.INVALID_REQUEST,  # null
    "23503": ErrorCode.NOT_FOUND,  # the row it refers to is not there
    "23505": ErrorCode.INVALID_REQUEST,  # taken
    "23514": ErrorCode.INVALID_REQUEST,  # a named check
    "42501": ErrorCode.FORBIDDEN,  # grants or row-level security
    "PGRST301": ErrorCode.UNAUTHENTICATED,
    "PGRST302": ErrorCode.UNAUTHENTICATED,
    "PGRST303": ErrorCode.TOKEN_EXPIRED,
}

_BY_STATUS: Final[dict[int, ErrorCode]] = {
    HTTPStatus.BAD_REQUEST: ErrorCode.INVALID_REQUEST,
    HTTPStatus.NOT_FOUND: ErrorCode.NOT_FOUND,
    HTTPStatus.METHOD_NOT_ALLOWED: ErrorCode.METHOD_NOT_ALLOWED,
    HTTPStatus.REQUEST_ENTITY_TOO_LARGE: ErrorCode.FILE_TOO_LARGE,
    HTTPStatus.UNSUPPORTED_MEDIA_TYPE: ErrorCode.UNSUPPORTED_MEDIA_TYPE,
}
"""aiohttp's own refusals."""


def problem_of(error: Exception) -> Problem:
    """Look *error* up; what is not known here is INTERNAL."""
    match error:
        case Problem():
            return error
        case rest.RestRefused():
            return _of_refusal(error)
        case rest.RestUnavailable() | objects.ObjectStoreUnavailable():
            return Problem(ErrorCode.UPSTREAM_UNAVAILABLE)
        case ConnectionError() | web.RequestPayloadError():
            # Only the caller's own connection can raise these here: the adapters translate theirs.
            return Problem(ErrorCode.INVALID_REQUEST, {"reason": "the body is broken off"})
        case web.HTTPException():
            code = _BY_STATUS.get(error.status, ErrorCode.INTERNAL)
            allow = error.headers.get("Allow")
            return Problem(code, headers={"Allow": allow} if allow else None)
        case _:
            return Problem(ErrorCode.INTERNAL)


def _of_refusal(error: rest.RestRefused) -> Problem:
    sqlstate = error.code or ""
    if not sqlstate.startswith(_OUR_SQLSTATE):
        return Problem(_BY_SQLSTATE.get(sqlstate, ErrorCode.INTERNAL))
    try:
        code = ErrorCode(error.message)
    except ValueError:  # of a database that is ahead of this server
        return Problem(ErrorCode.INTERNAL)
    return Problem(code, {"reason": error.details} if error.details else None)
