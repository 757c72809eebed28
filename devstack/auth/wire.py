"""Between handlers and HTTP: who is asking, and errors in GoTrue's two shapes."""

import contextlib
import dataclasses
import functools
import uuid
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import psycopg
from aiohttp import web
from psycopg.rows import DictRow, dict_row

from devstack import context, tokens
from devstack.auth import errors


API_VERSION_HEADER = "X-Supabase-Api-Version"
API_VERSION = "2024-01-01"

ADMIN_ROLES = frozenset({"service_role", "supabase_admin"})

Handler = Callable[[web.Request], Awaitable[web.Response]]
Cursor = psycopg.AsyncCursor[DictRow]


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Caller:
    """A signed-in user, by a token that verifies."""

    user_id: uuid.UUID
    session_id: uuid.UUID | None


def endpoint(handler: Handler) -> Handler:
    """*handler*, with the API key asked for and refusals answered in GoTrue's shape."""

    @functools.wraps(handler)
    async def answer(request: web.Request) -> web.Response:
        context.api_key_of(request)
        try:
            return await handler(request)
        except errors.AuthError as error:
            return refusal(request, error)
        except psycopg.OperationalError:
            # Clients try again after a 503, not after a 500.
            return refusal(request, errors.DatabaseAwayError())

    return answer


def refusal(request: web.Request, error: errors.AuthError) -> web.Response:
    """*error* in the shape of the API version that the caller asked for."""
    if request.headers.get(API_VERSION_HEADER, "") >= API_VERSION:
        body: dict[str, Any] = {"code": error.code, "message": error.message, **error.more}
        headers = {API_VERSION_HEADER: API_VERSION}
        return web.json_response(body, status=error.status, headers=headers)
    body = {"code": error.status, "error_code": error.code, "msg": error.message, **error.more}
    return web.json_response(body, status=error.status)


def caller_of(request: web.Request) -> Caller:
    """The signed-in user. Raises: errors.NoAuthorizationError, errors.BadJwtError."""
    claims = _claims(request)
    try:
        user_id = uuid.UUID(claims.get("sub", ""))
    except ValueError as error:
        raise errors.BadJwtError("invalid claim: missing sub claim") from error
    session_id = claims.get("session_id")
    return Caller(user_id=user_id, session_id=uuid.UUID(session_id) if session_id else None)


def require_admin(request: web.Request) -> None:
    """Raises: errors.NoAuthorizationError, errors.BadJwtError, errors.NotAdminError."""
    if _claims(request).get("role") not in ADMIN_ROLES:
        raise errors.NotAdminError


@contextlib.asynccontextmanager
async def transaction(request: web.Request) -> AsyncIterator[Cursor]:
    """
    One transaction as the role that hosted Auth uses.

    So a trigger on auth.users that reads a table without `security definer` fails here as well.
    """
    pool = request.config_dict[context.CONTEXT].pool
    async with (
        pool.connection() as connection,
        connection.transaction(),
        connection.cursor(row_factory=dict_row) as cursor,
    ):
        await cursor.execute("set local role supabase_auth_admin")
        yield cursor


def _claims(request: web.Request) -> tokens.Claims:
    scheme, _, token = request.headers.get("Authorization", "").partition(" ")
    if scheme.lower() != "bearer" or not token:
        raise errors.NoAuthorizationError
    try:
        return request.config_dict[context.CONTEXT].tokens.verify(token.strip())
    except tokens.ExpiredTokenError as error:
        raise errors.BadJwtError(
            "invalid JWT: unable to parse or verify signature,"
            " token has invalid claims: token is expired"
        ) from error
    except tokens.TokenError as error:
        raise errors.BadJwtError from error
