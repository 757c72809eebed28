"""
The session of a signed-in user, app or machine: an access token that is always good.

The local clock and the token's length decide when a token is renewed; the Auth server's clock is
not trusted.
"""

import asyncio
import contextlib
import logging
import random
import time
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, replace
from http import HTTPStatus
from typing import Final, Self

import httpx
import supabase_auth
from supabase_auth import errors as auth_errors

from s3_sam3 import errors


log = logging.getLogger(__name__)

_TIMEOUT: Final = httpx.Timeout(10.0)
_LONGEST_MARGIN_SECONDS: Final = 300.0
_RANDOM: Final = random.SystemRandom()


@dataclass(frozen=True, slots=True, kw_only=True)
class Tokens:
    """What must be kept to stay signed in; times in Unix seconds by this host's clock."""

    access_token: str
    refresh_token: str
    refresh_at: float
    expires_at: float
    user_id: str
    email: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Credentials:
    """A password; a session that keeps it signs in again when its refresh token is refused."""

    email: str
    password: str


class Session:
    """
    Renews its token early; callers at the same moment share one request.

    It begins with *tokens*, or signs in with *credentials* at the first call. *on_change* is given
    each new pair of tokens. *http* is used for the requests and stays open.
    """

    def __init__(
        self,
        *,
        supabase_url: str,
        anon_key: str,
        tokens: Tokens | None = None,
        credentials: Credentials | None = None,
        on_change: Callable[[Tokens], None] | None = None,
        http: httpx.AsyncClient | None = None,
    ) -> None:
        self.supabase_url = supabase_url.rstrip("/")
        self.anon_key = anon_key
        self._tokens = tokens
        self._credentials = credentials
        self._on_change = on_change
        self._http = http
        self._renewing = asyncio.Lock()

    @classmethod
    async def sign_in(cls, *, supabase_url: str, anon_key: str, email: str, password: str) -> Self:
        """Sign in with a password; raises SignInFailed or Unreachable."""
        async with _auth(supabase_url, anon_key) as auth:
            answer = await auth.sign_in_with_password({"email": email, "password": password})
        return cls(supabase_url=supabase_url, anon_key=anon_key, tokens=_tokens(answer.session))

    @classmethod
    async def sign_up(cls, *, supabase_url: str, anon_key: str, email: str, password: str) -> Self:
        """Make an account and sign in; raises SignInFailed when Auth wants a confirmed address."""
        async with _auth(supabase_url, anon_key) as auth:
            answer = await auth.sign_up({"email": email, "password": password})
        return cls(supabase_url=supabase_url, anon_key=anon_key, tokens=_tokens(answer.session))

    @property
    def tokens(self) -> Tokens:
        """The tokens of now; raises NotSignedIn."""
        if self._tokens is None:
            raise errors.NotSignedIn
        return self._tokens

    @property
    def user_id(self) -> str:
        return self.tokens.user_id

    async def access_token(self) -> str:
        """
        Give a token that is good for a while.

        While Auth does not answer, the old token is given until its end.
        Raises SignInFailed, Unreachable or NotSignedIn.
        """
        tokens = self._tokens
        if tokens is None or time.time() >= tokens.refresh_at:
            async with self._renewing:
                tokens = await self._renewed()
        return tokens.access_token

    def forget(self, access_token: str) -> None:
        """Renew at the next call, if *access_token*, which a server refused, is still in use."""
        if self._tokens is not None and self._tokens.access_token == access_token:
            self._tokens = replace(self._tokens, refresh_at=0.0, expires_at=0.0)

    async def sign_out(self) -> None:
        """End the session on the server too."""
        tokens = self.tokens
        async with _auth(self.supabase_url, self.anon_key) as auth:
            await auth.set_session(tokens.access_token, tokens.refresh_token)
            await auth.sign_out({"scope": "local"})

    async def _renewed(self) -> Tokens:
        tokens = self._tokens
        if tokens is not None and time.time() < tokens.refresh_at:
            return tokens  # another caller renewed it while this one waited
        try:
            fresh = await (self._sign_in() if tokens is None else self._refresh(tokens))
        except errors.Unreachable:
            if tokens is None or time.time() >= tokens.expires_at:
                raise
            log.warning("session_not_renewed", extra={"seconds_left": _seconds_left(tokens)})
            return tokens
        self._tokens = fresh
        if self._on_change is not None:
            self._on_change(fresh)
        return fresh

    async def _refresh(self, tokens: Tokens) -> Tokens:
        try:
            async with _auth(self.supabase_url, self.anon_key, self._http) as auth:
                answer = await auth.refresh_session(tokens.refresh_token)
        except errors.SignInFailed:
            if self._credentials is None:
                raise
            log.info("session_refresh_refused")  # rotated away, or revoked
            return await self._sign_in()
        return _tokens(answer.session)

    async def _sign_in(self) -> Tokens:
        if self._credentials is None:
            raise errors.NotSignedIn
        email, password = self._credentials.email, self._credentials.password
        async with _auth(self.supabase_url, self.anon_key, self._http) as auth:
            answer = await auth.sign_in_with_password({"email": email, "password": password})
        log.info("session_signed_in", extra={"email": email})
        return _tokens(answer.session)


@contextlib.asynccontextmanager
async def _auth(
    supabase_url: str, anon_key: str, http: httpx.AsyncClient | None = None
) -> AsyncIterator[supabase_auth.AsyncGoTrueClient]:
    """Open a client of Auth, and translate its errors."""
    async with contextlib.AsyncExitStack() as stack:
        if http is None:
            http = await stack.enter_async_context(httpx.AsyncClient(timeout=_TIMEOUT))
        try:
            yield supabase_auth.AsyncGoTrueClient(
                url=f"{supabase_url.rstrip('/')}/auth/v1",
                headers={"apikey": anon_key, "Authorization": f"Bearer {anon_key}"},
                auto_refresh_token=False,
                persist_session=False,
                http_client=http,
            )
        except (auth_errors.AuthError, httpx.HTTPError) as error:
            if _is_final(error):
                raise errors.SignInFailed(str(error)) from error
            reason = str(error) or type(error).__name__
            raise errors.Unreachable(supabase_url, reason) from error


def _is_final(error: Exception) -> bool:
    """Whether Auth said no, so that the same request gets the same answer."""
    status = getattr(error, "status", 0)
    refused = HTTPStatus.BAD_REQUEST <= status < HTTPStatus.INTERNAL_SERVER_ERROR
    return refused and status != HTTPStatus.TOO_MANY_REQUESTS


def _tokens(session: supabase_auth.Session | None) -> Tokens:
    """Renew with a quarter of the life left, at most 5 minutes; jitter keeps clients apart."""
    if session is None:
        msg = "The account waits for its e-mail address to be confirmed."
        raise errors.SignInFailed(msg)
    now, seconds = time.time(), float(session.expires_in)
    margin = min(_LONGEST_MARGIN_SECONDS, seconds / 4) * _RANDOM.uniform(1.0, 1.5)
    return Tokens(
        access_token=session.access_token,
        refresh_token=session.refresh_token,
        refresh_at=now + seconds - margin,
        expires_at=now + seconds,
        user_id=session.user.id,
        email=session.user.email,
    )


def _seconds_left(tokens: Tokens) -> int:
    return round(tokens.expires_at - time.time())
