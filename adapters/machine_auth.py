"""
Whose word a worker speaks: the service key of a trusted host, or a machine user's session.

    MachineAuthError
    ├── SignInRefused      the credentials are wrong or the user is banned; trying again is useless
    └── AuthUnavailable    no answer from Auth, and no token that is still good
"""

import asyncio
import contextlib
import random
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass
from typing import Final, Protocol

import httpx
from supabase_auth import AsyncGoTrueClient
from supabase_auth.errors import AuthApiError, AuthError
from supabase_auth.types import Session

from runtime import logs, settings


log = logs.get_logger(__name__)

_TIMEOUT: Final = httpx.Timeout(10.0)
_DICE: Final = random.SystemRandom()
_LONGEST_MARGIN_SECONDS: Final = 300.0
_RATE_LIMITED: Final = 429
_SERVER_FAULT: Final = 500


class MachineAuthError(Exception):
    """The worker has no valid token."""


class SignInRefused(MachineAuthError):
    """Supabase Auth refused S3_MACHINE_EMAIL and S3_MACHINE_PASSWORD."""


class AuthUnavailable(MachineAuthError):
    """Supabase Auth does not answer."""


class MachineTokens(Protocol):
    """Gives the worker's access token."""

    async def token(self) -> str:
        """A token that is good for a while. Raises: SignInRefused, AuthUnavailable."""
        ...

    def forget(self, token: str) -> None:
        """Say that the server refused *token*, so that the next one is new."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class ServiceKey:
    """The service key as token: it never ends, and it passes row-level security."""

    key: str

    async def token(self) -> str:
        """The key."""
        return self.key

    def forget(self, token: str) -> None:
        """Do nothing: there is no other."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Held:
    """A session and how long it serves, by this host's monotonic clock."""

    session: Session
    refresh_at: float
    ends_at: float


class MachineUser:
    """
    A machine user's session, signed in on first use and refreshed before its end.

    Callers at the same moment share one request. A refused refresh token (rotated away, revoked)
    leads to a new sign-in. The Auth server's clock is not trusted: only the token's length is.
    """

    def __init__(self, auth: AsyncGoTrueClient, *, email: str, password: str) -> None:
        self._auth = auth
        self._email = email
        self._password = password
        self._held: _Held | None = None
        self._one_at_a_time = asyncio.Lock()

    async def token(self) -> str:
        """A good access token. Raises: SignInRefused, AuthUnavailable."""
        held = self._held
        if held is None or _now() >= held.refresh_at:
            async with self._one_at_a_time:
                held = await self._renewed(self._held)
        return held.session.access_token

    def forget(self, token: str) -> None:
        """Refresh at the next call, if *token* is still the one held."""
        held = self._held
        if held is not None and held.session.access_token == token:
            self._held = _Held(session=held.session, refresh_at=0.0, ends_at=0.0)

    async def _renewed(self, held: _Held | None) -> _Held:
        if held is not None and _now() < held.refresh_at:
            return held  # a neighbour renewed it while we waited
        try:
            session = await (self._sign_in() if held is None else self._refresh(held.session))
        except AuthUnavailable:
            if held is None or _now() >= held.ends_at:
                raise
            log.warning("machine_token_not_refreshed", seconds_left=round(held.ends_at - _now()))
            return held
        self._held = _hold(session)
        return self._held

    async def _refresh(self, session: Session) -> Session:
        try:
            with _translated():
                answer = await self._auth.refresh_session(session.refresh_token)
        except SignInRefused:
            log.info("machine_refresh_refused")
            return await self._sign_in()
        log.info("machine_token_refreshed")
        return _session(answer.session)

    async def _sign_in(self) -> Session:
        with _translated():
            answer = await self._auth.sign_in_with_password(
                {"email": self._email, "password": self._password}
            )
        log.info("machine_signed_in", email=self._email)
        return _session(answer.session)


@contextlib.asynccontextmanager
async def machine_tokens(
    project: settings.SupabaseServiceSettings, *, email: str | None, password: str | None
) -> AsyncIterator[MachineTokens]:
    """The service key's tokens when the host has one, else the machine user's."""
    if project.supabase_service_key is not None:
        log.warning(
            "service_key_in_use",
            meaning="this host can read and change everything; use a machine user if it is rented",
        )
        yield ServiceKey(key=project.supabase_service_key.get_secret_value())
        return
    if not email or not password:
        msg = (
            "set S3_MACHINE_EMAIL and S3_MACHINE_PASSWORD,"
            " or SUPABASE_SERVICE_KEY on a host that you trust"
        )
        raise settings.SettingsError(msg)
    async with httpx.AsyncClient(timeout=_TIMEOUT, trust_env=False) as http:
        auth = AsyncGoTrueClient(
            url=f"{project.supabase_url}/auth/v1",
            headers={"apikey": project.supabase_anon_key},
            auto_refresh_token=False,
            persist_session=False,
            http_client=http,
        )
        yield MachineUser(auth, email=email, password=password)


def _now() -> float:
    return asyncio.get_running_loop().time()


def _hold(session: Session) -> _Held:
    """Refresh with a quarter of the life left (at most 5 min), less some jitter."""
    seconds = float(session.expires_in)
    margin = min(_LONGEST_MARGIN_SECONDS, seconds / 4) * _DICE.uniform(1.0, 1.5)
    now = _now()
    return _Held(session=session, refresh_at=now + seconds - margin, ends_at=now + seconds)


def _session(session: Session | None) -> Session:
    if session is None:
        msg = "Auth answered without a session"
        raise SignInRefused(msg)
    return session


@contextlib.contextmanager
def _translated() -> Iterator[None]:
    """The one seam where the Auth client's errors become ours."""
    try:
        yield
    except AuthApiError as error:
        final = error.status < _SERVER_FAULT and error.status != _RATE_LIMITED
        kind = SignInRefused if final else AuthUnavailable
        raise kind(f"{kind.__doc__} ({error.status} {error.code or error.message})") from error
    except (AuthError, httpx.HTTPError) as error:
        raise AuthUnavailable(f"{AuthUnavailable.__doc__} ({error})") from error
