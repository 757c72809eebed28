"""Who may do what is decided by PostgreSQL; the gateway only says who asks."""

import urllib.parse
from collections.abc import Awaitable, Callable

import aiohttp
import jwt
import psycopg
import pytest
from postgrest.exceptions import APIError

from devstack import testing
from supabase import AsyncClient


User = Callable[[], Awaitable[AsyncClient]]


async def note_of(client: AsyncClient, title: str) -> int:
    """The id of a new note of the caller."""
    answer = await client.table("rest_notes").insert({"title": title}).execute()
    return int(answer.data[0]["id"])


async def sees(client: AsyncClient, note: int) -> bool:
    """True if the caller can read the note."""
    answer = await client.table("rest_notes").select("id").eq("id", note).execute()
    return len(answer.data) == 1


async def test_users_see_only_their_own_rows(user: User, service: AsyncClient) -> None:
    """Reading, changing and deleting another user's row finds nothing."""
    ann, bob = await user(), await user()
    note = await note_of(ann, "ann's")

    assert await sees(ann, note)
    assert not await sees(bob, note)
    assert (
        await bob.table("rest_notes").update({"title": "x"}).eq("id", note).execute()
    ).data == []
    assert (await bob.table("rest_notes").delete().eq("id", note).execute()).data == []
    assert (await bob.rpc("rest_notes_over", {"p_id": 0}).execute()).data == []
    assert (await bob.table("rest_titles").select("*").execute()).data == []
    assert await sees(service, note)


async def test_without_row_level_security_the_other_row_is_seen(
    user: User,
    schema: str,
) -> None:
    """Negative control: with the guard off, the check above finds the other user's row."""
    ann, bob = await user(), await user()
    note = await note_of(ann, "ann's")
    with psycopg.connect(schema, autocommit=True) as connection:
        connection.execute("alter table public.rest_notes disable row level security")
        try:
            assert await sees(bob, note)
        finally:
            connection.execute("alter table public.rest_notes enable row level security")


async def test_a_row_for_somebody_else_is_refused(
    user: User,
) -> None:
    """The check of the policy speaks, with PostgreSQL's words and code."""
    ann = await user()
    with pytest.raises(APIError) as caught:
        await (
            ann.table("rest_notes")
            .insert({"title": "x", "user_id": "00000000-0000-4000-8000-000000000000"})
            .execute()
        )

    assert caught.value.code == "42501"
    assert "row-level security policy" in str(caught.value.message)


async def test_anon_reads_nothing_and_writes_nothing(anon: AsyncClient) -> None:
    """Row-level security hides silently on reading and refuses on writing."""
    assert (await anon.table("rest_notes").select("*").execute()).data == []
    with pytest.raises(APIError) as caught:
        await anon.table("rest_notes").insert({"title": "x"}).execute()

    assert caught.value.code == "42501"


async def test_a_missing_grant_is_an_error_not_an_empty_answer(
    stack: testing.Stack, anon: AsyncClient
) -> None:
    """Without the right to the table PostgreSQL refuses: 401 for anon, 403 for a user."""
    token = jwt.encode({"role": "authenticated", "sub": "x"}, stack.jwt_secret)
    tokens = {401: stack.anon_key, 403: token}
    async with aiohttp.ClientSession(headers={"apikey": stack.anon_key}) as http:
        for status, bearer in tokens.items():
            headers = {"Authorization": f"Bearer {bearer}"}
            async with http.get(f"{stack.url}/rest/v1/rest_locked", headers=headers) as response:
                body = await response.json()
            assert (response.status, body["code"]) == (status, "42501")
            assert body["message"] == "permission denied for table rest_locked"


async def test_a_token_cannot_name_a_role_beyond_the_api(stack: testing.Stack, rows: None) -> None:
    """Even rightly signed: the gateway becomes only what `authenticator` may become."""
    async with aiohttp.ClientSession(headers={"apikey": stack.anon_key}) as http:
        for role in ("postgres", "supabase_admin", "nobody\0", 'x"; reset role; --'):
            token = jwt.encode({"role": role}, stack.jwt_secret)
            headers = {"Authorization": f"Bearer {token}"}
            async with http.get(f"{stack.url}/rest/v1/rest_notes", headers=headers) as response:
                assert (response.status, (await response.json())["code"]) == (403, "42501")


async def test_without_key_or_with_a_forged_token_nothing_is_answered(
    stack: testing.Stack, rows: None
) -> None:
    """401, before the database is asked."""
    forged = jwt.encode({"role": "service_role"}, "x" * 32)
    async with aiohttp.ClientSession() as http:
        for headers in (
            {},
            {"apikey": "wrong"},
            {"apikey": stack.anon_key, "Authorization": f"Bearer {forged}"},
        ):
            async with http.get(f"{stack.url}/rest/v1/rest_owners", headers=headers) as response:
                assert response.status == 401
                assert "message" in await response.json()


async def test_nothing_of_a_request_stays_on_its_connection(
    stack: testing.Stack, service: AsyncClient, anon: AsyncClient
) -> None:
    """Role, claims and settings end with the transaction, also when it failed."""
    for _ in range(3):
        with pytest.raises(APIError):
            await service.table("rest_notes").insert({"id": 1, "title": "taken"}).execute()
    for _ in range(30):
        claims = (await anon.rpc("rest_setting", {"name": "request.jwt.claims"}).execute()).data
        assert '"anon"' in str(claims)
        assert (await anon.rpc("rest_setting", {"name": "role"}).execute()).data == "anon"


async def test_settings_of_the_role_apply(anon: AsyncClient, service: AsyncClient) -> None:
    """`alter role anon set statement_timeout` holds for anon alone."""
    name = {"name": "statement_timeout"}

    assert (await anon.rpc("rest_setting", name).execute()).data == "3s"
    assert (await service.rpc("rest_setting", name).execute()).data == "0"


ATTACKS = [
    "'; drop table public.rest_owners; --",
    '"; drop table public.rest_owners; --',
    "id; drop table public.rest_owners; --",
    "1) or (1=1",
    "x' or '1'='1",
    '" or 1=1 --',
    "$1",
    "%s %(x)s %",
    "{columns}",
    "\\",
    "a\\'b",
    "id) as x, (select current_user) as y, (id",
    "*/ drop table public.rest_owners /*",
    "\0",
    "\ud7ff\uffff",
]


@pytest.mark.parametrize("attack", ATTACKS)
async def test_injection_is_inert_in_every_place(
    http: aiohttp.ClientSession, schema: str, attack: str
) -> None:
    """In names and values alike, a request's text is a name or a value, or an error below 500."""
    quoted = urllib.parse.quote(attack, safe="")
    name = urllib.parse.quote('"' + attack.replace("\\", "\\\\").replace('"', '\\"') + '"', safe="")
    places = [
        *(f"{at}" for at in (quoted, f"rpc/{quoted}")),
        *(f"rest_notes?select={one}" for one in (quoted, name, f"id::{name}", f"{name}:id")),
        *(f"rest_notes?select=meta->{one}" for one in (quoted, name)),
        *(f"rest_notes?select={one}" for one in (f"{name}(id)", f"rest_owners!{name}(id)")),
        *(f"rest_notes?{one}=eq.1" for one in (quoted, name, f"meta->>{name}")),
        *(f"rest_notes?title={op}.{quoted}" for op in ("eq", "like", "match", "fts", "isdistinct")),
        *(f"rest_notes?title={one}" for one in (f"in.({quoted})", f"in.({name})", f"is.{quoted}")),
        f"rest_notes?title=fts({quoted}).x",
        f"rest_notes?tags=cs.{quoted}",
        f"rest_notes?or=(title.eq.{quoted},title.eq.{name})",
        *(f"rest_notes?order={one}" for one in (quoted, name, f"id.{quoted}")),
        *(f"rest_notes?limit={one}" for one in (quoted,)),
        f"rest_notes?offset={quoted}",
        f"rpc/rest_notes_over?p_id={quoted}",
        f"rpc/rest_add?{name}=1",
    ]
    statuses = {}
    for place in places:
        async with http.get(f"{http._base_url}{place}", allow_redirects=False) as response:
            statuses[place] = response.status
            body = await response.text()
        if response.status == 200 and "select=" not in place and "order=" not in place:
            # Nothing matches such a text but its denial, and no condition was dropped.
            assert body == "[]" or "isdistinct" in place or place.endswith("limit=0"), place

    assert {place: status for place, status in statuses.items() if status >= 500} == {}
    with psycopg.connect(schema) as connection:
        found = connection.execute("select count(*) from public.rest_owners").fetchone()
    assert found == (3,)


@pytest.mark.parametrize("attack", ATTACKS)
async def test_injection_is_inert_in_writes(
    http: aiohttp.ClientSession, schema: str, attack: str
) -> None:
    """A value is stored as it is; a name in the body or in `columns` is no column."""
    name = urllib.parse.quote('"' + attack.replace("\\", "\\\\").replace('"', '\\"') + '"', safe="")
    base = http._base_url
    async with http.post(f"{base}rest_notes", json={"title": attack}) as response:
        assert response.status == (400 if "\0" in attack else 201)
    requests = [
        ("POST", "rest_notes", {attack: 1}),
        ("POST", f"rest_notes?columns={name}", {"title": "x"}),
        ("POST", f"rest_notes?on_conflict={name}", {"title": "x"}),
        ("PATCH", "rest_notes?id=eq.1", {attack: 1}),
        ("PATCH", f"rest_notes?{name}=eq.1", {"title": "x"}),
        ("DELETE", f"rest_notes?{name}=eq.1", None),
        ("POST", "rpc/rest_add", {attack: 1}),
        ("POST", "rpc/rest_setting", {"name": attack}),
    ]
    headers = {"Prefer": "resolution=merge-duplicates"}
    for method, path, body in requests:
        async with http.request(method, f"{base}{path}", json=body, headers=headers) as response:
            assert response.status < 500, (method, path, await response.text())

    with psycopg.connect(schema) as connection:
        found = connection.execute(
            "select count(*) from public.rest_notes where title = %s", [attack.replace("\0", "")]
        ).fetchone()
        titles = connection.execute("select title from public.rest_notes where id = 1").fetchone()
    assert found == (0 if "\0" in attack else 1,)
    assert titles == ("apple",)


async def test_a_column_with_an_odd_name_works(service: AsyncClient) -> None:
    """Quotes and percent signs in a real name are that name."""
    odd = 'odd "name%s'
    quoted = '"odd \\"name%s"'
    await service.table("rest_notes").update({odd: 7}).eq("id", 1).execute()

    answer = await service.table("rest_notes").select(f"id,{quoted}").eq(odd, 7).execute()

    assert answer.data == [{"id": 1, odd: 7}]
