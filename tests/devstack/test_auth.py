"""Accounts, as the official Python client and GoTrue's wire expect them."""

import json
from collections.abc import Awaitable, Callable
from typing import Any

import aiohttp
import auth_calls
import psycopg
import pytest
import supabase_auth.errors

import supabase
from devstack import testing


NewUser = Callable[..., Awaitable[testing.SignedUpUser]]
Database = psycopg.AsyncConnection[Any]


async def test_sign_up_makes_a_confirmed_user_with_a_session(client: supabase.AsyncClient) -> None:
    """A new user is signed in at once and keeps the data they gave."""
    email = auth_calls.new_email()

    answer = await client.auth.sign_up(
        {"email": email.upper(), "password": "pw123456", "options": {"data": {"name": "Ada"}}}
    )

    assert answer.user
    assert answer.session
    assert answer.user.email == email
    assert answer.user.email_confirmed_at is not None
    assert answer.user.user_metadata["name"] == "Ada"
    assert answer.user.app_metadata == {"provider": "email", "providers": ["email"]}


async def test_claims_verify_against_the_published_key(
    stack: testing.Stack, client: supabase.AsyncClient
) -> None:
    """An access token is ES256, checkable by anyone, and says who, where and how long."""
    answer = await client.auth.sign_up({"email": auth_calls.new_email(), "password": "pw123456"})
    assert answer.user

    verified = await client.auth.get_claims()

    assert verified
    claims: dict[str, Any] = {**verified["claims"]}
    header = verified["headers"]
    assert header["alg"] == "ES256"
    assert claims["iss"] == f"{stack.url}/auth/v1"
    assert (claims["sub"], claims["aud"]) == (answer.user.id, "authenticated")
    assert (claims["role"], claims["aal"]) == ("authenticated", "aal1")
    assert claims["exp"] - claims["iat"] == 3600
    assert claims["is_anonymous"] is False
    assert claims["amr"][0]["method"] == "password"


async def test_sign_in_needs_the_right_password(
    client: supabase.AsyncClient, new_user: NewUser
) -> None:
    """The right password opens a session; a wrong one and an unknown email look the same."""
    user = await new_user()

    answer = await client.auth.sign_in_with_password(
        {"email": user.email, "password": user.password}
    )

    assert answer.user
    assert answer.user.id == user.id
    for email, password in (
        (user.email, "wrong-password"),
        (auth_calls.new_email(), user.password),
    ):
        with pytest.raises(supabase_auth.errors.AuthApiError) as refused:
            await client.auth.sign_in_with_password({"email": email, "password": password})
        assert (refused.value.code, refused.value.status) == ("invalid_credentials", 400)


@pytest.mark.parametrize(
    ("email", "password", "code", "status"),
    [
        ("taken", "pw123456", "user_already_exists", 422),
        ("new", "pw123", "weak_password", 422),
        ("not an address", "pw123456", "validation_failed", 400),
        ("", "pw123456", "anonymous_provider_disabled", 422),
        ("new", "", "validation_failed", 400),
        ("new", "x" * 73, "validation_failed", 400),
    ],
)
async def test_a_sign_up_is_refused_in_gotrues_words(
    http: aiohttp.ClientSession,
    new_user: NewUser,
    email: str,
    password: str,
    code: str,
    status: int,
) -> None:
    """Each refusal has GoTrue's status and code, in both shapes of its API versions."""
    taken = (await new_user()).email if email == "taken" else auth_calls.new_email()
    body = {"email": {"taken": taken, "new": taken}.get(email, email), "password": password}

    async with http.post("/auth/v1/signup", json=body) as old:
        assert old.status == status
        assert (await old.json())["error_code"] == code
    version = {"X-Supabase-Api-Version": "2024-01-01"}
    async with http.post("/auth/v1/signup", json=body, headers=version) as new:
        assert new.headers["X-Supabase-Api-Version"] == "2024-01-01"
        assert (await new.json())["code"] == code


async def test_the_client_knows_a_weak_password(client: supabase.AsyncClient) -> None:
    """The client has a class of its own for it, which reads the reasons."""
    with pytest.raises(supabase_auth.errors.AuthWeakPasswordError):
        await client.auth.sign_up({"email": auth_calls.new_email(), "password": "pw"})


async def test_a_user_changes_their_own_data(client: supabase.AsyncClient) -> None:
    """Metadata is merged key by key, and the new email and password are the ones that work."""
    await client.auth.sign_up(
        {
            "email": auth_calls.new_email(),
            "password": "pw123456",
            "options": {"data": {"a": 1, "b": 2}},
        }
    )
    email = auth_calls.new_email()

    answer = await client.auth.update_user(
        {"email": email, "password": "pw654321", "data": {"b": None, "c": 3}}
    )

    assert answer.user.user_metadata.items() >= {"a": 1, "c": 3}.items()
    assert "b" not in answer.user.user_metadata
    await client.auth.sign_in_with_password({"email": email, "password": "pw654321"})


async def test_a_new_password_ends_other_sessions(
    client: supabase.AsyncClient, http: aiohttp.ClientSession, new_user: NewUser
) -> None:
    """The session that changed it stays."""
    user = await new_user()
    await client.auth.sign_in_with_password({"email": user.email, "password": user.password})

    await client.auth.update_user({"password": "pw654321"})

    assert not await auth_calls.is_signed_in(http, user.access_token)


async def test_the_old_password_is_not_a_new_one(
    client: supabase.AsyncClient, new_user: NewUser
) -> None:
    """Changing to the same password is refused."""
    user = await new_user()
    await client.auth.sign_in_with_password({"email": user.email, "password": user.password})

    with pytest.raises(supabase_auth.errors.AuthApiError) as refused:
        await client.auth.update_user({"password": user.password})

    assert refused.value.code == "same_password"


async def test_a_broken_body_is_a_clear_error(http: aiohttp.ClientSession) -> None:
    """Bad JSON and a wrong type are errors of the request, not of the server."""
    for body, code in (("{", "bad_json"), (json.dumps({"email": 7}), "validation_failed")):
        async with http.post("/auth/v1/signup", data=body) as answer:
            assert (answer.status, (await answer.json())["error_code"]) == (400, code)


async def test_a_trigger_that_refuses_makes_no_user(
    http: aiohttp.ClientSession, db: Database
) -> None:
    """A project's trigger on auth.users runs in the same transaction, as Auth's own role."""
    await db.execute(
        """
        create function public.refuse_someone() returns trigger language plpgsql as $$
        begin
            if new.email like 'refused-%' then
                raise exception 'not you, %', current_user;
            end if;
            return new;
        end $$;
        create trigger refuse_someone after insert on auth.users
        for each row execute function public.refuse_someone();
        """
    )
    email = f"refused-{auth_calls.new_email()}"
    try:
        async with http.post(
            "/auth/v1/signup", json={"email": email, "password": "pw123456"}
        ) as answer:
            assert answer.status == 500
            assert (await answer.json())["msg"] == "Database error saving new user"
    finally:
        await db.execute("drop function public.refuse_someone() cascade")

    rows = await db.execute("select count(*) from auth.users where email = %s", (email,))
    assert await rows.fetchone() == (0,)
