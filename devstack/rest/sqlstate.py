"""How an error of psycopg becomes an answer of the gateway."""

from http import HTTPStatus

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


def translate(error: psycopg.Error, *, anonymous: bool) -> errors.RestError:
    """What the gateway answers for *error*; *anonymous* callers get 401 where others get 403."""
    if isinstance(error, psycopg_pool.PoolTimeout):
        return errors.PoolTimeoutError()
    code = error.sqlstate
    if code is None:
        return _without_sqlstate(error)
    message = error.diag.message_primary or str(error)
    status = _status(code, message, anonymous=anonymous)
    return errors.DatabaseError(
        message,
        code=code,
        status=status,
        details=error.diag.message_detail,
        hint=error.diag.message_hint,
        headers={"WWW-Authenticate": "Bearer"} if status == HTTPStatus.UNAUTHORIZED else None,
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
