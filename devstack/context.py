"""What every route of the gateway shares, and who is asking."""

import dataclasses
from typing import Any

from aiohttp import web
from psycopg import AsyncConnection
from psycopg.rows import TupleRow
from psycopg_pool import AsyncConnectionPool

from devstack import tokens as jwts


Pool = AsyncConnectionPool[AsyncConnection[TupleRow]]


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Context:
    """The running stack, as its routes see it."""

    #: Autocommit connections as superuser `postgres`; routes `set local role` in a transaction.
    pool: Pool
    #: libpq URL of the same database and user.
    dsn: str
    tokens: jwts.Tokens
    anon_key: str
    service_key: str
    jwt_secret: str
    #: Base URL of the gateway, without a trailing slash.
    url: str


CONTEXT = web.AppKey("context", Context)


def claims_of(request: web.Request) -> dict[str, Any]:
    """
    Verified claims of the caller: of the Bearer token, or else of the API key itself.

    As on the hosted platform an API key is needed besides a user's token. The role is in
    `claims["role"]`. Do not change the result. Raises: web.HTTPUnauthorized with PostgREST's body.
    """
    context = request.config_dict[CONTEXT]
    key = api_key_of(request)
    scheme, _, bearer = request.headers.get("Authorization", "").partition(" ")
    token = bearer.strip() if scheme.lower() == "bearer" else ""
    try:
        return context.tokens.verify(token or key)
    except jwts.TokenError as error:
        raise unauthorized(error.code, error.message) from error


def api_key_of(request: web.Request) -> str:
    """The caller's API key: the anon or the service key. Raises: web.HTTPUnauthorized."""
    context = request.config_dict[CONTEXT]
    key = request.headers.get("apikey") or request.query.get("apikey", "")
    if not key:
        raise unauthorized("", "No API key found in request")
    if key not in {context.anon_key, context.service_key}:
        raise unauthorized("", "Invalid API key")
    return key


def unauthorized(code: str, message: str) -> web.HTTPUnauthorized:
    """A 401 in PostgREST's shape."""
    body = {"code": code, "message": message, "details": None, "hint": None}
    challenge = f'Bearer error="invalid_token", error_description="{message}"'
    return web.HTTPUnauthorized(
        text=web.json_response(body).text,
        content_type="application/json",
        headers={"WWW-Authenticate": challenge},
    )
