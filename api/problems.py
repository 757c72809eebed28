"""
What goes wrong, and the one table that turns it into an ErrorCode.

Handlers raise a Problem where they know the code. Everything else (the database's and the object
store's errors, aiohttp's own) is looked up here, by the middleware, and nowhere else.
"""

from collections.abc import Mapping
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
        if fact.status == web.HTTPUnauthorized.status_code:
            headers.setdefault("WWW-Authenticate", "Bearer")
        return headers


_RETRY_AFTER_SECONDS: Final = {ErrorCode.UPSTREAM_UNAVAILABLE: 5, ErrorCode.RATE_LIMITED: 10}

_SPOKEN: Final = {
    ErrorCode.INSUFFICIENT_CREDITS,
    ErrorCode.IDEMPOTENCY_CONFLICT,
    ErrorCode.SOURCE_NOT_FOUND,
    ErrorCode.NOT_FOUND,
    ErrorCode.FORBIDDEN,
    ErrorCode.INVALID_REQUEST,
    ErrorCode.PROMPT_EMPTY,
    ErrorCode.PROMPT_TOO_LONG,
    ErrorCode.ALREADY_FINAL,
    ErrorCode.RATE_LIMITED,
}
"""Codes that our SQL functions put into the message of a PTxyz error."""

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

_BY_STATUS: Final = {
    400: ErrorCode.INVALID_REQUEST,
    401: ErrorCode.UNAUTHENTICATED,
    403: ErrorCode.FORBIDDEN,
    404: ErrorCode.NOT_FOUND,
    405: ErrorCode.METHOD_NOT_ALLOWED,
    413: ErrorCode.FILE_TOO_LARGE,
    415: ErrorCode.UNSUPPORTED_MEDIA_TYPE,
    429: ErrorCode.RATE_LIMITED,
}
"""aiohttp's own refusals."""


def problem_of(error: Exception) -> Problem:
    """Look *error* up; what nobody foresaw is INTERNAL."""
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
    if (error.code or "").startswith("PT"):
        code = ErrorCode(error.message) if error.message in _SPOKEN else ErrorCode.INTERNAL
        return Problem(code, {"reason": error.details} if error.details else None)
    return Problem(_BY_SQLSTATE.get(error.code or "", ErrorCode.INTERNAL))
