"""What the service key may do to users, and nobody else."""

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


async def test_the_service_key_makes_finds_changes_and_deletes_users(
    admin: supabase.AsyncClient,
) -> None:
    """The life of a machine user."""
    users = admin.auth.admin
    email = auth_calls.new_email()
    made = await users.create_user(
        {
            "email": email,
            "password": "pw123456",
            "email_confirm": True,
            "app_metadata": {"kind": "gpu"},
        }
    )

    assert made.user.app_metadata["kind"] == "gpu"
    assert email in [user.email for user in await users.list_users()]
    changed = await users.update_user_by_id(made.user.id, {"app_metadata": {"rack": 7}})
    assert changed.user.app_metadata.items() >= {"kind": "gpu", "rack": 7}.items()
    assert (await users.get_user_by_id(made.user.id)).user.email == email
    await users.delete_user(made.user.id)
    with pytest.raises(supabase_auth.errors.AuthApiError) as refused:
        await users.get_user_by_id(made.user.id)
    assert (refused.value.code, refused.value.status) == ("user_not_found", 404)


async def test_a_ban_is_refused(admin: supabase.AsyncClient, new_user: NewUser) -> None:
    """There are no bans here, so the request fails instead of doing nothing."""
    user = await new_user()

    with pytest.raises(supabase_auth.errors.AuthApiError) as refused:
        await admin.auth.admin.update_user_by_id(user.id, {"ban_duration": "24h"})

    assert "ban_duration" in refused.value.message


async def test_only_the_service_key_administers(
    stack: testing.Stack, http: aiohttp.ClientSession, new_user: NewUser
) -> None:
    """Neither the anon key nor a user may list users; without a token nobody may."""
    user = await new_user()
    asked: list[tuple[str | None, int, str]] = [
        (None, 401, "no_authorization"),
        (stack.anon_key, 403, "not_admin"),
        (user.access_token, 403, "not_admin"),
        (user.access_token[:-4] + "AAAA", 403, "bad_jwt"),
    ]

    for token, status, code in asked:
        async with http.get("/auth/v1/admin/users", headers=auth_calls.bearer(token)) as answer:
            assert (answer.status, (await answer.json())["error_code"]) == (status, code)
