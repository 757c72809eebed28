"""Calls of the auth routes that several tests make."""

import uuid
from typing import Any

import aiohttp
import jwt
import psycopg

from devstack import testing


Database = psycopg.AsyncConnection[Any]


def new_email() -> str:
    """An unused address."""
    return f"{uuid.uuid4().hex[:12]}@example.com"


async def refreshed(http: aiohttp.ClientSession, token: str) -> dict[str, Any]:
    """The answer to a refresh."""
    path = "/auth/v1/token?grant_type=refresh_token"
    async with http.post(path, json={"refresh_token": token}) as answer:
        body: dict[str, Any] = await answer.json()
        return body


async def is_signed_in(http: aiohttp.ClientSession, token: str) -> bool:
    """Whether Auth still knows the session of *token*."""
    async with http.get("/auth/v1/user", headers=bearer(token)) as answer:
        assert answer.status in {200, 403}
        return answer.status == 200


async def age_tokens(db: Database, user: testing.SignedUpUser, seconds: int) -> None:
    """Let time pass for the refresh tokens of *user*."""
    await db.execute(
        "update auth.refresh_tokens set updated_at = updated_at - %s * interval '1 second'"
        " where user_id = %s",
        (seconds, user.id),
    )


def bearer(token: str | None) -> dict[str, str]:
    """The header that carries *token*."""
    return {"Authorization": f"Bearer {token}"} if token else {}


def unverified(token: str) -> dict[str, Any]:
    """Claims of *token*."""
    claims: dict[str, Any] = jwt.decode(token, options={"verify_signature": False})
    return claims


def session_id(token: str) -> str:
    """The session that *token* belongs to."""
    return str(unverified(token)["session_id"])
