"""The one seam where a psycopg error becomes an answer of the gateway."""

import http
import json
from typing import Any

import psycopg
import psycopg_pool

from devstack.rest import errors


#: SQLSTATE to HTTP status as PostgREST maps them; what is in neither table is 400.
_BY_CODE = {
    "23503": 409,  # foreign key violation
    "23505": 409,  # unique violation
    "25006": 405,  # write in a read-only transaction
    "21000": 500,  # more than one row returned by a subquery
    "42883": 404,  # undefined function
    "42P01": 404,  # undefined table
    "42P17": 500,  # infinite recursion in a policy
    "57P01": 503,  # terminated by an administrator
    "57P02": 503,  # terminated since another backend crashed, as an immediate stop says
    "57P03": 503,  # not taking connections yet
    "P0001": 400,  # raise exception
}

_BY_CLASS = {
    "08": 503,
    "09": 500,
    "0L": 403,
    "0P": 403,
    "25": 500,
    "28": 403,
    "2D": 500,
    "38": 500,
    "39": 500,
    "3B": 500,
    "40": 500,
    "53": 503,
    "54": 500,
    "55": 500,
    "57": 500,
    "58": 500,
    "F0": 500,
    "HV": 500,
    "P0": 500,
    "XX": 500,
}

INSUFFICIENT_PRIVILEGE = "42501"

_MESSAGE_HINT = (
    "MESSAGE must be a JSON object with obligatory keys: 'code', 'message' and optional keys: "
    "'details', 'hint'."
)
_DETAIL_HINT = (
    "DETAIL must be a JSON object with obligatory keys: 'status', 'headers' and optional key: "
    "'status_text'."
)


def translate(error: psycopg.Error, *, anonymous: bool) -> errors.RestError:
    """What the gateway answers for *error*; *anonymous* callers get 401 where others get 403."""
    if isinstance(error, psycopg_pool.PoolTimeout):
        return errors.PoolTimeoutError()
    code = error.sqlstate
    if code is None:
        return _without_sqlstate(error)
    message = error.diag.message_primary or str(error)
    if code == "PGRST":
        return _raised_pgrst(message, error.diag.message_detail)
    status = _status(code, message, anonymous=anonymous)
    return errors.DatabaseError(
        message,
        code=code,
        status=status,
        details=error.diag.message_detail,
        hint=error.diag.message_hint,
        headers={"WWW-Authenticate": "Bearer"} if status == http.HTTPStatus.UNAUTHORIZED else None,
    )


def _without_sqlstate(error: psycopg.Error) -> errors.RestError:
    # psycopg refuses some values before they reach the server: NUL in text is the usual one.
    if isinstance(error, psycopg.DataError):
        return errors.DatabaseError(str(error), code="22021")
    return errors.DatabaseUnreachableError(details=str(error))


def _status(code: str, message: str, *, anonymous: bool) -> int:
    if code == INSUFFICIENT_PRIVILEGE:
        return 401 if anonymous else 403
    if code.startswith("PT"):
        digits = code[2:]
        valid = digits.isdecimal() and 100 <= int(digits) <= 599  # noqa: PLR2004 (HTTP's range)
        return int(digits) if valid else 500
    if code == "22023" and message.startswith("role") and message.endswith("does not exist"):
        return 401
    if code == "53400":
        return 500
    return _BY_CODE.get(code) or _BY_CLASS.get(code[:2], 400)


def _raised_pgrst(message: str, detail: str | None) -> errors.RestError:
    """`raise sqlstate 'PGRST'` controls the whole answer by JSON in its message and detail."""
    said = _json_object(message)
    if said is None or not {"code", "message"} <= said.keys():
        return errors.RaiseFormatError(
            details=f"Invalid JSON value for MESSAGE: '{message}'", hint=_MESSAGE_HINT
        )
    if detail is None:
        return errors.RaiseFormatError(
            details="DETAIL is missing in the RAISE statement", hint=_DETAIL_HINT
        )
    wanted = _json_object(detail)
    if wanted is None or not isinstance(wanted.get("status"), int):
        return errors.RaiseFormatError(
            details=f"Invalid JSON value for DETAIL: '{detail}'", hint=_DETAIL_HINT
        )
    headers = wanted.get("headers") or {}
    return errors.DatabaseError(
        str(said["message"]),
        code=str(said["code"]),
        status=wanted["status"],
        details=said.get("details"),
        hint=said.get("hint"),
        headers={str(name): str(value) for name, value in headers.items()},
    )


def _json_object(text: str) -> dict[str, Any] | None:
    try:
        value = json.loads(text)
    except ValueError:
        return None
    return value if isinstance(value, dict) else None
