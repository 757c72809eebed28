"""The token of a session is always good, and callers at once cost one request."""

import asyncio
import json
import time
from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest
from pydantic import SecretStr

from adapters import machine_auth
from runtime import settings
from s3_sam3 import NotSignedIn, SignInFailed, Unreachable
from s3_sam3.session import Credentials, Session, Tokens


class FakeAuth:
    """Supabase Auth: signs in, refreshes, and refuses or does not answer when told to."""

    def __init__(self) -> None:
        self.grants: list[str] = []
        self.lifetime_seconds = 3600
        self.refusing: set[str] = set()
        self.refusal_status = 400
        self.silent = False

    async def answer(self, request: httpx.Request) -> httpx.Response:
        """Answer `POST /token`."""
        grant = request.url.params["grant_type"]
        self.grants.append(grant)
        await asyncio.sleep(0)
        if self.silent:
            raise httpx.ConnectError("nobody there")
        if grant in self.refusing:
            refusal = {"code": "invalid_credentials", "message": "no"}
            return httpx.Response(
                self.refusal_status,
                json=refusal,
                headers={"X-Supabase-Api-Version": "2024-01-01"},
            )
        return httpx.Response(200, content=json.dumps(self._session()))

    def _session(self) -> dict[str, object]:
        user = {
            "id": "u",
            "aud": "authenticated",
            "app_metadata": {},
            "user_metadata": {},
            "created_at": "2026-01-01T00:00:00Z",
        }
        return {
            "access_token": f"access-{len(self.grants)}",
            "refresh_token": f"refresh-{len(self.grants)}",
            "token_type": "bearer",
            "expires_in": self.lifetime_seconds,
            "user": user,
        }


@pytest.fixture
def auth() -> FakeAuth:
    """An Auth server that is well."""
    return FakeAuth()


@pytest.fixture
async def http(auth: FakeAuth) -> AsyncIterator[httpx.AsyncClient]:
    """Connections to it."""
    async with httpx.AsyncClient(transport=httpx.MockTransport(auth.answer)) as client:
        yield client


@pytest.fixture
def session(http: httpx.AsyncClient) -> Session:
    """A session that keeps its password, as a machine's does."""
    return new_session(http, credentials=Credentials(email="m@example.org", password="p"))


def new_session(http: httpx.AsyncClient, **options: Any) -> Session:
    """A session at the fake server."""
    return Session(supabase_url="http://auth", anon_key="anon", http=http, **options)


def kept(seconds: float) -> Tokens:
    """Tokens that an earlier process kept, to be renewed in so many seconds, or ago."""
    return Tokens(
        access_token="kept",
        refresh_token="kept",
        refresh_at=time.time() + seconds,
        expires_at=time.time() + seconds + 60,
        user_id="u",
        email=None,
    )


async def test_callers_at_once_share_one_sign_in(auth: FakeAuth, session: Session) -> None:
    """Ten callers get the same token for one request."""
    tokens = await asyncio.gather(*(session.access_token() for _ in range(10)))

    assert set(tokens) == {"access-1"}
    assert auth.grants == ["password"]


async def test_a_token_near_its_end_is_refreshed(auth: FakeAuth, session: Session) -> None:
    """With a quarter of its life left a token is replaced, before any server refuses it."""
    auth.lifetime_seconds = 0
    await session.access_token()
    auth.lifetime_seconds = 3600

    assert await session.access_token() == "access-2"
    assert await session.access_token() == "access-2"
    assert auth.grants == ["password", "refresh_token"]


async def test_a_refused_refresh_leads_to_a_sign_in(auth: FakeAuth, session: Session) -> None:
    """A refresh token that was rotated away costs a sign-in, not the worker."""
    session.forget(await session.access_token())
    auth.refusing = {"refresh_token"}

    assert await session.access_token() == "access-3"
    assert auth.grants == ["password", "refresh_token", "password"]


async def test_without_a_password_a_refused_refresh_is_the_end(
    auth: FakeAuth, http: httpx.AsyncClient
) -> None:
    """Negative control: a session of kept tokens has nothing to sign in with."""
    auth.refusing = {"refresh_token"}

    with pytest.raises(SignInFailed):
        await new_session(http, tokens=kept(-1)).access_token()
    with pytest.raises(NotSignedIn):
        await new_session(http).access_token()


async def test_kept_tokens_are_used_until_they_are_old(
    auth: FakeAuth, http: httpx.AsyncClient
) -> None:
    """A later process asks Auth only when the kept token is near its end, and keeps the new one."""
    assert await new_session(http, tokens=kept(60)).access_token() == "kept"
    assert auth.grants == []

    written: list[Tokens] = []
    old = new_session(http, tokens=kept(-1), on_change=written.append)
    assert await old.access_token() == "access-1"
    assert [tokens.refresh_token for tokens in written] == ["refresh-1"]


async def test_a_refused_token_is_replaced_once(auth: FakeAuth, session: Session) -> None:
    """Forgetting a token that was replaced already does not cost another refresh."""
    old = await session.access_token()
    session.forget(old)
    new = await session.access_token()
    session.forget(old)

    assert await session.access_token() == new


async def test_a_silent_auth_server_does_not_hurt_a_good_token(
    auth: FakeAuth, session: Session
) -> None:
    """While the token is good, callers notice nothing of an outage of Auth; afterwards they do."""
    auth.lifetime_seconds = 1
    token = await session.access_token()
    auth.silent = True
    async with asyncio.timeout(5):
        while len(auth.grants) == 1:
            assert await session.access_token() == token
            await asyncio.sleep(0.01)

    session.forget(token)
    with pytest.raises(Unreachable):
        await session.access_token()


@pytest.mark.parametrize("status", [429, 500])
async def test_a_busy_auth_server_has_refused_nothing(
    auth: FakeAuth, session: Session, status: int
) -> None:
    """An answer that may be another one later is an outage, not a wrong password."""
    auth.refusing, auth.refusal_status = {"password"}, status

    with pytest.raises(Unreachable):
        await session.access_token()


async def test_wrong_credentials_of_a_machine_are_said_to_be_wrong(
    auth: FakeAuth, session: Session
) -> None:
    """A refused sign-in is final and names the variables to correct."""
    auth.refusing = {"password"}

    with pytest.raises(machine_auth.SignInRefused, match="S3_MACHINE_PASSWORD"):
        await machine_auth.MachineUser(session).token()


async def test_an_outage_of_auth_is_told_to_the_machine(auth: FakeAuth, session: Session) -> None:
    """Auth that does not answer is an error that the worker may wait out."""
    auth.silent = True

    with pytest.raises(machine_auth.AuthUnavailable):
        await machine_auth.MachineUser(session).token()


async def test_the_service_key_comes_before_the_machine_user() -> None:
    """A host that has the service key uses it as it is."""
    project = settings.SupabaseServiceSettings(
        supabase_url="http://127.0.0.1:9",
        supabase_anon_key="anon",
        supabase_service_key=SecretStr("service"),
    )
    async with machine_auth.machine_tokens(project, email="m@x", password="p") as tokens:
        assert await tokens.token() == "service"
