"""
How a worker signs in: the service key of a trusted host, or a machine user's session.

    MachineAuthError
    ├── SignInRefused      the credentials are wrong or the user is banned; trying again is useless
    └── AuthUnavailable    no answer from Auth, and no token that is still good
"""

import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass
from http import HTTPStatus
from typing import Final, Protocol, TypeVar

import httpx

from adapters.rest import RestRefused
from runtime import logs, settings
from s3_sam3 import errors
from s3_sam3.session import Credentials, Session


log = logs.get_logger(__name__)

_TIMEOUT: Final = httpx.Timeout(10.0)

Answer = TypeVar("Answer")


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
        return self.key

    def forget(self, token: str) -> None:
        """Do nothing: there is no other."""


class MachineUser:
    """A machine user's session, which keeps its password; its errors are this module's."""

    def __init__(self, session: Session) -> None:
        self._session = session

    async def token(self) -> str:
        """Raises: SignInRefused, AuthUnavailable."""
        try:
            return await self._session.access_token()
        except errors.SignInFailed as error:
            raise SignInRefused(f"{SignInRefused.__doc__} ({error})") from error
        except errors.Unreachable as error:
            raise AuthUnavailable(f"{AuthUnavailable.__doc__} ({error})") from error

    def forget(self, token: str) -> None:
        self._session.forget(token)


async def with_token(tokens: MachineTokens, call: Callable[[str], Awaitable[Answer]]) -> Answer:
    """Call with the worker's token; when the server refuses it, once more with a new one."""
    token = await tokens.token()
    try:
        return await call(token)
    except RestRefused as error:
        if error.status != HTTPStatus.UNAUTHORIZED:
            raise
    tokens.forget(token)
    return await call(await tokens.token())


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
        yield MachineUser(
            Session(
                supabase_url=project.supabase_url,
                anon_key=project.supabase_anon_key,
                credentials=Credentials(email=email, password=password),
                http=http,
            )
        )
