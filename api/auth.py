"""
The caller's access token, checked before anything else is done.

The token goes on to Supabase with each call, so row-level security decides what its user may see.
This check keeps garbage away from there, and tells a caller with a key or another kind of token
clearly what is wrong.
"""

from dataclasses import dataclass, field
from typing import Any, Final
from uuid import UUID

import jwt

from api.jwks import Jwks, JwksUnavailable
from api.problems import Problem
from s3_sam3.contracts.errors import ErrorCode


_AUDIENCE: Final = "authenticated"
_ROLE: Final = "authenticated"
_MACHINE: Final = "gpu"
_LEEWAY_SECONDS: Final = 10
_LONGEST_TOKEN: Final = 16 * 1024
"""Characters; a header field of aiohttp holds 8190 anyway."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Principal:
    """The user behind a request."""

    user_id: UUID
    email: str | None
    token: str = field(repr=False)
    """The access token itself, for calls to Supabase alone."""


class Authenticator:
    """Turns an Authorization header into a Principal, or raises the Problem to answer."""

    def __init__(self, *, jwks: Jwks, issuer: str, secret: str | None) -> None:
        self._jwks = jwks
        self._issuer = issuer
        self._secret = secret

    async def principal(self, authorization: str | None) -> Principal:
        """
        Check the header's token.

        Raises: Problem with UNAUTHENTICATED, TOKEN_EXPIRED, FORBIDDEN (a machine's token) or
        UPSTREAM_UNAVAILABLE (the signing keys cannot be fetched).
        """
        token = _bearer(authorization)
        claims = await self._claims(token)
        if claims.get("role") != _ROLE:
            raise _unauthenticated("the token's role is not authenticated")
        metadata = claims.get("app_metadata")
        if isinstance(metadata, dict) and metadata.get("kind") == _MACHINE:
            raise Problem(ErrorCode.FORBIDDEN)
        return Principal(user_id=_user_id(claims), email=claims.get("email"), token=token)

    async def _claims(self, token: str) -> dict[str, Any]:
        try:
            key, algorithm = await self._key(jwt.get_unverified_header(token))
            claims: dict[str, Any] = jwt.decode(
                token,
                key,
                algorithms=[algorithm],
                audience=_AUDIENCE,
                issuer=self._issuer,
                leeway=_LEEWAY_SECONDS,
                options={"require": ["exp", "sub", "aud", "iss"]},
            )
        except jwt.ExpiredSignatureError:
            raise Problem(ErrorCode.TOKEN_EXPIRED) from None
        except jwt.PyJWTError as error:
            raise _unauthenticated(str(error)) from None
        return claims

    async def _key(self, header: dict[str, Any]) -> tuple[jwt.PyJWK | str, str]:
        """The key for a token's header; the algorithm comes from the key, never from the token."""
        if header.get("alg") == "HS256":
            if self._secret is None:
                raise _unauthenticated("tokens signed with a shared secret are not accepted")
            return self._secret, "HS256"
        key_id = header.get("kid")
        if not isinstance(key_id, str):
            raise _unauthenticated("the token names no key")
        try:
            key = await self._jwks.key(key_id)
        except JwksUnavailable:
            raise Problem(ErrorCode.UPSTREAM_UNAVAILABLE) from None
        if key is None:
            raise _unauthenticated("the token's key is unknown")
        return key, key.algorithm_name


def _bearer(authorization: str | None) -> str:
    scheme, _, token = (authorization or "").partition(" ")
    token = token.strip()
    if scheme.lower() != "bearer" or not token or len(token) > _LONGEST_TOKEN:
        raise _unauthenticated("no bearer token")
    return token


def _user_id(claims: dict[str, Any]) -> UUID:
    try:
        return UUID(claims["sub"])
    except ValueError:
        raise _unauthenticated("the token's subject is no user id") from None


def _unauthenticated(reason: str) -> Problem:
    return Problem(ErrorCode.UNAUTHENTICATED, {"reason": reason})
