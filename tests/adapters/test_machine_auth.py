"""A machine's token is always good, and costs one request at a time."""

import asyncio
import json
from collections.abc import AsyncIterator

import httpx
import pytest
from pydantic import SecretStr
from supabase_auth import AsyncGoTrueClient

from adapters import machine_auth
from runtime import settings


class FakeAuth:
    """Supabase Auth: signs in, refreshes, and refuses or falls silent when told to."""

    def __init__(self) -> None:
        self.grants: list[str] = []
        self.lifetime_seconds = 3600
        self.refusing: set[str] = set()
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
                400, json=refusal, headers={"X-Supabase-Api-Version": "2024-01-01"}
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
async def machine(auth: FakeAuth) -> AsyncIterator[machine_auth.MachineUser]:
    """A machine user at it."""
    async with httpx.AsyncClient(transport=httpx.MockTransport(auth.answer)) as http:
        client = AsyncGoTrueClient(
            url="http://auth", auto_refresh_token=False, persist_session=False, http_client=http
        )
        yield machine_auth.MachineUser(client, email="m@example.org", password="p")


async def test_callers_at_once_share_one_sign_in(
    auth: FakeAuth, machine: machine_auth.MachineUser
) -> None:
    """Ten callers get the same token for one request."""
    tokens = await asyncio.gather(*(machine.token() for _ in range(10)))

    assert set(tokens) == {"access-1"}
    assert auth.grants == ["password"]


async def test_a_token_near_its_end_is_refreshed(
    auth: FakeAuth, machine: machine_auth.MachineUser
) -> None:
    """With a quarter of its life left a token is replaced, before anybody refuses it."""
    auth.lifetime_seconds = 0
    await machine.token()
    auth.lifetime_seconds = 3600

    assert await machine.token() == "access-2"
    assert await machine.token() == "access-2"
    assert auth.grants == ["password", "refresh_token"]


async def test_a_refused_refresh_leads_to_a_sign_in(
    auth: FakeAuth, machine: machine_auth.MachineUser
) -> None:
    """A refresh token that was rotated away costs a sign-in, not the worker."""
    machine.forget(await machine.token())
    auth.refusing = {"refresh_token"}

    assert await machine.token() == "access-3"
    assert auth.grants == ["password", "refresh_token", "password"]


async def test_a_refused_token_is_replaced_once(
    auth: FakeAuth, machine: machine_auth.MachineUser
) -> None:
    """Forgetting a token that was replaced already does not cost another refresh."""
    old = await machine.token()
    machine.forget(old)
    new = await machine.token()
    machine.forget(old)

    assert await machine.token() == new


async def test_a_silent_auth_server_does_not_hurt_a_good_token(
    auth: FakeAuth, machine: machine_auth.MachineUser
) -> None:
    """While the token is good an outage of Auth is not the caller's; afterwards it is."""
    auth.lifetime_seconds = 1
    token = await machine.token()
    auth.silent = True
    async with asyncio.timeout(5):
        while len(auth.grants) == 1:
            assert await machine.token() == token
            await asyncio.sleep(0.01)

    machine.forget(token)
    with pytest.raises(machine_auth.AuthUnavailable):
        await machine.token()


async def test_wrong_credentials_are_said_to_be_wrong(
    auth: FakeAuth, machine: machine_auth.MachineUser
) -> None:
    """A refused sign-in is final and names the variables to correct."""
    auth.refusing = {"password"}

    with pytest.raises(machine_auth.SignInRefused, match="S3_MACHINE_PASSWORD"):
        await machine.token()


async def test_the_service_key_comes_before_the_machine_user() -> None:
    """A host that has the service key uses it as it is."""
    project = settings.SupabaseServiceSettings(
        supabase_url="http://127.0.0.1:9",
        supabase_anon_key="anon",
        supabase_service_key=SecretStr("service"),
    )
    async with machine_auth.machine_tokens(project, email="m@x", password="p") as tokens:
        assert await tokens.token() == "service"
