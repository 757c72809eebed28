"""A signed-in user: an access token that is always fresh."""

import asyncio
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Self, TypeVar

import httpx
import supabase_auth
from supabase_auth import errors as auth_errors

from s3_sam3 import errors


REFRESH_EARLY_SECONDS = 90.0
"""A token this close to its end is renewed before it is used."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Tokens:
    """What must be kept to stay signed in."""

    access_token: str
    refresh_token: str
    expires_at: float
    """Unix seconds."""
    user_id: str
    email: str | None


class Session:
    """Renews its tokens by itself; one renewal at a time."""

    def __init__(
        self,
        *,
        supabase_url: str,
        anon_key: str,
        tokens: Tokens,
        on_change: Callable[[Tokens], None] | None = None,
    ) -> None:
        self.supabase_url = supabase_url.rstrip("/")
        self.anon_key = anon_key
        self.tokens = tokens
        self._on_change = on_change
        self._renewing = asyncio.Lock()

    @classmethod
    async def sign_in(cls, *, supabase_url: str, anon_key: str, email: str, password: str) -> Self:
        """Sign in with a password; raises SignInFailed or Unreachable."""
        async with _auth(supabase_url, anon_key) as auth:
            answer = await _asked(
                supabase_url, auth.sign_in_with_password({"email": email, "password": password})
            )
        return cls(supabase_url=supabase_url, anon_key=anon_key, tokens=_tokens(answer.session))

    @classmethod
    async def sign_up(cls, *, supabase_url: str, anon_key: str, email: str, password: str) -> Self:
        """Make an account and sign in; raises SignInFailed when Auth wants a confirmed address."""
        async with _auth(supabase_url, anon_key) as auth:
            answer = await _asked(
                supabase_url, auth.sign_up({"email": email, "password": password})
            )
        return cls(supabase_url=supabase_url, anon_key=anon_key, tokens=_tokens(answer.session))

    @property
    def user_id(self) -> str:
        """The user's uuid."""
        return self.tokens.user_id

    async def access_token(self) -> str:
        """A token good for at least REFRESH_EARLY_SECONDS."""
        if self.tokens.expires_at - time.time() > REFRESH_EARLY_SECONDS:
            return self.tokens.access_token
        async with self._renewing:
            if self.tokens.expires_at - time.time() <= REFRESH_EARLY_SECONDS:
                await self._renew()
        return self.tokens.access_token

    async def _renew(self) -> None:
        async with _auth(self.supabase_url, self.anon_key) as auth:
            answer = await _asked(
                self.supabase_url, auth.refresh_session(self.tokens.refresh_token)
            )
        self.tokens = _tokens(answer.session)
        if self._on_change is not None:
            self._on_change(self.tokens)

    async def sign_out(self) -> None:
        """End the session on the server too."""
        async with _auth(self.supabase_url, self.anon_key) as auth:
            await _asked(
                self.supabase_url,
                auth.set_session(self.tokens.access_token, self.tokens.refresh_token),
            )
            await auth.sign_out({"scope": "local"})


def _auth(supabase_url: str, anon_key: str) -> supabase_auth.AsyncGoTrueClient:
    return supabase_auth.AsyncGoTrueClient(
        url=f"{supabase_url.rstrip('/')}/auth/v1",
        headers={"apikey": anon_key, "Authorization": f"Bearer {anon_key}"},
        auto_refresh_token=False,
        persist_session=False,
    )


Answer = TypeVar("Answer")


async def _asked(supabase_url: str, call: Awaitable[Answer]) -> Answer:
    """Translate Auth's errors at this one seam."""
    try:
        return await call
    except (httpx.TransportError, auth_errors.AuthRetryableError) as error:
        raise errors.Unreachable(supabase_url, str(error) or type(error).__name__) from error
    except auth_errors.AuthError as error:
        raise errors.SignInFailed(error.message) from error


def _tokens(session: supabase_auth.Session | None) -> Tokens:
    if session is None:
        msg = "The account waits for its e-mail address to be confirmed."
        raise errors.SignInFailed(msg)
    return Tokens(
        access_token=session.access_token,
        refresh_token=session.refresh_token,
        expires_at=float(session.expires_at or time.time() + session.expires_in),
        user_id=session.user.id,
        email=session.user.email,
    )
