"""Sessions: refresh tokens that rotate, sign-outs, and tokens that are not ours."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import aiohttp
import auth_calls
import jwt
import psycopg
import pytest

import supabase
from devstack import testing


NewUser = Callable[..., Awaitable[testing.SignedUpUser]]
Database = psycopg.AsyncConnection[Any]


async def test_refreshing_rotates_the_token(client: supabase.AsyncClient) -> None:
    """A refresh gives new tokens of the same session."""
    first = (
        await client.auth.sign_up({"email": auth_calls.new_email(), "password": "pw123456"})
    ).session

    second = (await client.auth.refresh_session()).session

    assert first
    assert second
    assert second.refresh_token != first.refresh_token
    assert auth_calls.session_id(second.access_token) == auth_calls.session_id(first.access_token)


async def test_the_previous_refresh_token_answers_with_the_current_one(
    http: aiohttp.ClientSession, new_user: NewUser
) -> None:
    """A client that lost our answer may ask again and is brought up to date, not forked."""
    first = (await new_user()).refresh_token
    second = (await auth_calls.refreshed(http, first))["refresh_token"]

    again = await auth_calls.refreshed(http, first)

    assert again["refresh_token"] == second


async def test_racing_refreshes_end_with_one_live_token(
    http: aiohttp.ClientSession, new_user: NewUser, db: Database
) -> None:
    """Ten refreshes at once with one token all succeed and leave one token to go on with."""
    user = await new_user()

    answers = await asyncio.gather(
        *(auth_calls.refreshed(http, user.refresh_token) for _ in range(10))
    )

    assert {answer["refresh_token"] for answer in answers} == {answers[0]["refresh_token"]}
    rows = await db.execute(
        "select count(*) from auth.refresh_tokens where user_id = %s and not revoked", (user.id,)
    )
    assert await rows.fetchone() == (1,)


async def test_a_replayed_refresh_token_ends_its_family(
    http: aiohttp.ClientSession, new_user: NewUser, db: Database
) -> None:
    """A token used long after its time was stolen: neither it nor its successors work any more."""
    user = await new_user()
    second = (await auth_calls.refreshed(http, user.refresh_token))["refresh_token"]
    third = (await auth_calls.refreshed(http, second))["refresh_token"]
    await auth_calls.age_tokens(db, user, seconds=60)

    assert (await auth_calls.refreshed(http, user.refresh_token))[
        "error_code"
    ] == "refresh_token_already_used"

    assert (await auth_calls.refreshed(http, third))["error_code"] == "refresh_token_already_used"


async def test_an_older_refresh_token_is_excused_for_ten_seconds(
    http: aiohttp.ClientSession, new_user: NewUser
) -> None:
    """Negative control of the theft rule: within the reuse interval nothing is revoked."""
    user = await new_user()
    second = (await auth_calls.refreshed(http, user.refresh_token))["refresh_token"]
    await auth_calls.refreshed(http, second)

    assert "access_token" in await auth_calls.refreshed(http, user.refresh_token)


async def test_an_unknown_refresh_token_is_refused(http: aiohttp.ClientSession) -> None:
    """A made-up token finds nothing."""
    assert (await auth_calls.refreshed(http, "made-up"))["error_code"] == "refresh_token_not_found"


@pytest.mark.parametrize(
    ("scope", "mine_lives", "other_lives"),
    [("local", False, True), ("global", False, False), ("others", True, False)],
)
async def test_signing_out_ends_the_sessions_of_its_scope(
    client: supabase.AsyncClient,
    http: aiohttp.ClientSession,
    new_user: NewUser,
    scope: Any,
    mine_lives: bool,  # noqa: FBT001  a column of the table above
    other_lives: bool,  # noqa: FBT001  a column of the table above
) -> None:
    """`local` ends this session, `others` the others, `global` all of them."""
    user = await new_user()
    answer = await client.auth.sign_in_with_password(
        {"email": user.email, "password": user.password}
    )
    assert answer.session

    await client.auth.sign_out({"scope": scope})

    assert await auth_calls.is_signed_in(http, answer.session.access_token) is mine_lives
    assert await auth_calls.is_signed_in(http, user.access_token) is other_lives


async def test_a_token_signed_with_another_key_is_refused(
    stack: testing.Stack, http: aiohttp.ClientSession, new_user: NewUser
) -> None:
    """Neither `none`, nor the public key as a shared secret, nor a foreign secret forges a user."""
    claims = {
        **auth_calls.unverified(user_token := (await new_user()).access_token),
        "role": "service_role",
    }
    kid = jwt.get_unverified_header(user_token)["kid"]
    forged = [
        jwt.encode(claims, "", algorithm="none"),
        jwt.encode(claims, "x" * 40, algorithm="HS256"),
        jwt.encode(claims, "x" * 40, algorithm="HS256", headers={"kid": kid}),
        jwt.encode(claims, stack.jwt_secret, algorithm="HS256", headers={"kid": kid}),
    ]

    for token in forged:
        async with http.get("/auth/v1/admin/users", headers=auth_calls.bearer(token)) as answer:
            assert (answer.status, (await answer.json())["error_code"]) == (403, "bad_jwt")


async def test_a_legacy_token_with_the_shared_secret_is_accepted(
    stack: testing.Stack, http: aiohttp.ClientSession, new_user: NewUser
) -> None:
    """Negative control of the forgeries: the same claims, rightly signed, are good."""
    claims = auth_calls.unverified((await new_user()).access_token)
    token = jwt.encode(claims, stack.jwt_secret, algorithm="HS256")

    assert await auth_calls.is_signed_in(http, token)


async def test_an_expired_token_is_refused(
    stack: testing.Stack, http: aiohttp.ClientSession, new_user: NewUser
) -> None:
    """After `exp` Auth answers bad_jwt, and REST answers PGRST303 as PostgREST does."""
    claims = {**auth_calls.unverified((await new_user()).access_token), "exp": 1_000_000_000}
    token = jwt.encode(claims, stack.jwt_secret, algorithm="HS256")

    assert not await auth_calls.is_signed_in(http, token)
    async with http.get("/rest/v1/anything", headers=auth_calls.bearer(token)) as answer:
        assert (answer.status, (await answer.json())["code"]) == (401, "PGRST303")
        assert (await answer.json())["message"] == "JWT expired"
