"""Calling functions through the official client."""

from typing import Any

import aiohttp
import psycopg
import pytest
from postgrest.exceptions import APIError

from supabase import AsyncClient


@pytest.mark.parametrize("get", [False, True])
@pytest.mark.parametrize(
    ("name", "arguments", "expected"),
    [
        ("rest_add", {"a": 1, "b": 2}, 3),
        ("rest_add", {"a": 1}, 11),
        ("rest_first_owner", {}, {"id": 1, "name": "ann"}),
        ("rest_numbers", {}, [{"n": 1}, {"n": 2}, {"n": 3}]),
        ("rest_ids", {}, [1, 2, 3]),
        ("rest_sum", {"numbers": [1, 2, 3]}, 6),
        ("rest_setting", {"name": "request.path"}, "/rpc/rest_setting"),
        ("rest_setting", {"name": "search_path"}, '"public", "extensions"'),
        ("rest_setting", {"name": "no.such"}, None),
    ],
)
async def test_results(
    service: AsyncClient, name: str, arguments: dict[str, Any], expected: Any, *, get: bool
) -> None:
    """A scalar, a row, a table and a set are each shown in their own form, by POST and GET."""
    assert (await service.rpc(name, arguments, get=get).execute()).data == expected


async def test_void_answers_nothing(http: aiohttp.ClientSession) -> None:
    """A function without a result is a 204."""
    async with http.post("rpc/rest_nothing") as response:
        assert (response.status, await response.read()) == (204, b"")


async def test_rows_of_a_call_can_be_filtered_ordered_cut_and_counted(
    service: AsyncClient,
) -> None:
    """A function that returns rows is read like a table."""
    query = service.rpc("rest_notes_over", {"p_id": 1}, count="exact").select("id,title")

    answer = await query.neq("id", 4).order("id", desc=True).limit(1).execute()

    assert (answer.data, answer.count) == ([{"id": 3, "title": "cherry"}], 2)


async def test_rows_of_a_call_can_embed(service: AsyncClient) -> None:
    """A function that returns rows of a table follows that table's foreign keys."""
    query = service.rpc("rest_notes_over", {"p_id": 2}).select("id,rest_owners!owner_id(name)")

    answer = await query.eq("id", 3).single().execute()

    assert answer.data == {"id": 3, "rest_owners": {"name": "bob"}}


async def test_one_unnamed_json_parameter_takes_the_body(http: aiohttp.ClientSession) -> None:
    """Whatever JSON it is."""
    for body in ({"z": [1, None]}, [1, 2], "text", 7):
        async with http.post("rpc/rest_echo", json=body) as response:
            assert (response.status, await response.json()) == (200, body)


@pytest.mark.parametrize("get", [False, True])
@pytest.mark.parametrize(
    ("name", "arguments", "code", "hint"),
    [
        ("rest_ad", {"a": 1}, "PGRST202", "Perhaps you meant to call the function public.rest_add"),
        (
            "rest_add",
            {"q": 1},
            "PGRST202",
            "Perhaps you meant to call the function public.rest_add(a, b)",
        ),
        ("rest_add", {"b": 1}, "PGRST202", None),
        ("pg_sleep", {"0": 1}, "PGRST202", None),
        ("rest_same", {"a": 1}, "PGRST203", None),
    ],
)
async def test_no_function_or_several(
    service: AsyncClient,
    name: str,
    arguments: dict[str, Any],
    code: str,
    hint: str | None,
    *,
    get: bool,
) -> None:
    """A call that fits no function, or more than one, is refused with a hint."""
    with pytest.raises(APIError) as caught:
        await service.rpc(name, arguments, get=get).execute()

    assert caught.value.code == code
    assert hint is None or caught.value.hint == hint


async def test_get_cannot_write(service: AsyncClient) -> None:
    """GET runs in a read-only transaction; POST of a volatile function does not."""
    with pytest.raises(APIError) as caught:
        await service.rpc("rest_write", {}, get=True).execute()

    assert caught.value.code == "25006"
    assert (await service.rpc("rest_write", {}).execute()).data == 99


async def test_a_read_only_refusal_is_method_not_allowed(http: aiohttp.ClientSession) -> None:
    """Its status is 405."""
    async with http.get("rpc/rest_write") as response:
        assert response.status == 405


@pytest.mark.parametrize(
    ("state", "status"),
    [
        ("P0001", 400),
        ("PT402", 402),
        ("PT999", 500),
        ("22012", 400),
        ("23505", 409),
        ("23503", 409),
        ("42501", 403),
        ("42883", 404),
        ("42P01", 404),
        ("42P17", 500),
        ("53300", 503),
        ("53400", 500),
        ("57014", 500),
        ("40001", 500),
        ("XX000", 500),
        ("28000", 403),
    ],
)
async def test_statuses_of_sqlstates(http: aiohttp.ClientSession, state: str, status: int) -> None:
    """Each SQLSTATE has PostgREST's status, and keeps code, message and details."""
    arguments = {"state": state, "message": "said", "detail": "why"}

    async with http.post("rpc/rest_raise", json=arguments) as response:
        body = await response.json()

    assert response.status == status
    assert body == {"code": state, "message": "said", "details": "why", "hint": None}


async def test_new_and_changed_functions_are_callable_at_once(
    service: AsyncClient, schema: str
) -> None:
    """What the catalogue lacks is looked for again before it is denied."""
    with psycopg.connect(schema, autocommit=True) as connection:
        connection.execute("create function public.rest_new(a int) returns int return a")
        try:
            assert (await service.rpc("rest_new", {"a": 1}).execute()).data == 1
            connection.execute("drop function public.rest_new")
            connection.execute("create function public.rest_new(b text) returns text return b")
            assert (await service.rpc("rest_new", {"b": "x"}).execute()).data == "x"
        finally:
            connection.execute("drop function if exists public.rest_new")


async def test_a_notice_makes_the_catalogue_new(
    service: AsyncClient, schema: str, eventually: Any
) -> None:
    """A function that changed under its old signature is called as it is now, soon after DDL."""
    with psycopg.connect(schema, autocommit=True) as connection:
        connection.execute("create function public.rest_new(a int) returns int return a")
        try:
            assert (await service.rpc("rest_new", {"a": 1}).execute()).data == 1
            connection.execute("drop function public.rest_new")
            connection.execute(
                "create function public.rest_new(a int) returns table (n int) "
                "language sql as 'select a'"
            )

            async def is_table() -> bool:
                """True once the new form of the function is the one that answers."""
                return bool((await service.rpc("rest_new", {"a": 1}).execute()).data == [{"n": 1}])

            await eventually(is_table)
        finally:
            connection.execute("drop function if exists public.rest_new")
