"""Writing through the official client."""

import aiohttp
import pytest
from postgrest.exceptions import APIError
from postgrest.types import ReturnMethod

from supabase import AsyncClient


async def all_titles(client: AsyncClient) -> list[str]:
    """Titles of all notes, by id."""
    answer = await client.table("rest_notes").select("title").order("id").execute()
    return [row["title"] for row in answer.data]


async def test_insert_answers_with_the_row(service: AsyncClient) -> None:
    """The row comes back with its defaults."""
    note = {"title": "egg", "meta": {"deep": [1, None]}, "tags": ["t,u", 'v"w']}

    answer = await service.table("rest_notes").insert(note).execute()

    assert len(answer.data) == 1
    assert answer.data[0].items() >= {**note, "id": 5, "price": None}.items()


async def test_numbers_keep_their_digits(service: AsyncClient) -> None:
    """A body is read by PostgreSQL, so a numeric does not pass through a float."""
    note = {"title": "egg", "price": 12345678.01}
    await service.table("rest_notes").insert(note).execute()

    answer = await service.table("rest_notes").select("price::text").eq("title", "egg").execute()

    assert answer.data == [{"price": "12345678.01"}]


async def test_bulk_insert_fills_missing_keys(service: AsyncClient) -> None:
    """Rows of different keys: what is missing is null, or the default if that is preferred."""
    table = service.table("rest_notes")
    with pytest.raises(APIError) as caught:
        await table.insert([{"title": "x"}, {"title": "y", "tags": ["z"]}]).execute()
    answer = await table.insert(
        [{"title": "x"}, {"title": "y", "tags": ["z"]}], default_to_null=False
    ).execute()

    assert caught.value.code == "23502"
    assert [row["tags"] for row in answer.data] == [[], ["z"]]


async def test_empty_inserts(service: AsyncClient, http: aiohttp.ClientSession) -> None:
    """An empty array inserts nothing; empty objects insert rows of defaults."""
    assert (await service.table("rest_notes").insert([]).execute()).data == []
    with pytest.raises(APIError) as caught:
        await service.table("rest_notes").insert({}).execute()

    assert caught.value.code == "23502"


@pytest.mark.parametrize(
    ("prefer", "status", "body"),
    [
        ("", 201, b""),
        ("return=minimal", 201, b""),
        ("return=representation", 201, b'[{"title":"egg"}]'),
    ],
)
async def test_what_an_insert_answers(
    http: aiohttp.ClientSession, prefer: str, status: int, body: bytes
) -> None:
    """`Prefer: return=` decides; without it there is no body."""
    headers = {"Prefer": prefer}

    async with http.post("rest_notes?select=title", headers=headers, json={"title": "egg"}) as got:
        assert (got.status, await got.read()) == (status, body)


async def test_upsert_merges_or_ignores(service: AsyncClient) -> None:
    """On the primary key or on named columns, a row that exists is updated or left alone."""
    table = service.table("rest_notes")

    by_key = await table.upsert({"id": 1, "title": "APPLE"}).execute()
    by_code = await table.upsert(
        [{"code": "b", "title": "BERRY"}, {"code": "z", "title": "new"}], on_conflict="code"
    ).execute()
    ignored = await table.upsert(
        {"code": "c", "title": "no"}, on_conflict="code", ignore_duplicates=True
    ).execute()

    assert by_key.data[0]["code"] == "a"
    assert [row["title"] for row in by_code.data] == ["BERRY", "new"]
    assert ignored.data == []
    assert (await all_titles(service))[:3] == ["APPLE", "BERRY", "cherry"]


async def test_upsert_status_tells_inserted_from_updated(http: aiohttp.ClientSession) -> None:
    """201 if a row is new, 200 if all were there."""
    headers = {"Prefer": "resolution=merge-duplicates"}
    for rows, status in (([{"id": 1, "title": "x"}], 200), ([{"id": 77, "title": "y"}], 201)):
        async with http.post("rest_notes", headers=headers, json=rows) as response:
            assert response.status == status
            assert response.headers["Preference-Applied"] == "resolution=merge-duplicates"


async def test_update_changes_what_the_filters_find(service: AsyncClient) -> None:
    """Only those rows, only those columns."""
    answer = await (
        service.table("rest_notes").update({"price": 9, "meta": None}).eq("owner_id", 1).execute()
    )

    assert [(row["id"], row["price"], row["meta"]) for row in answer.data] == [
        (1, 9, None),
        (2, 9, None),
    ]
    assert await all_titles(service) == ["apple", "berry", "cherry", 'date "d", (x)']


async def test_an_empty_update_changes_nothing(service: AsyncClient) -> None:
    """As in PostgREST, no columns means no rows."""
    assert (await service.table("rest_notes").update({}).eq("id", 1).execute()).data == []


async def test_delete_removes_what_the_filters_find(service: AsyncClient) -> None:
    """And answers with the rows that are gone."""
    answer = await service.table("rest_notes").delete().in_("id", [1, 99]).execute()

    assert [row["title"] for row in answer.data] == ["apple"]
    assert len(await all_titles(service)) == 3


async def test_writes_can_be_counted_and_answer_nothing(service: AsyncClient) -> None:
    """`return=minimal` with a count gives the count alone."""
    table = service.table("rest_notes")
    minimal = ReturnMethod.minimal

    updated = (
        await table.update({"price": 1}, count="exact", returning=minimal).gt("id", 1).execute()
    )
    deleted = await table.delete(count="exact", returning=minimal).gt("id", 2).execute()

    assert (updated.data, updated.count, deleted.data, deleted.count) == ([], 3, [], 2)


async def test_a_write_can_answer_with_embedded_relations(service: AsyncClient) -> None:
    """`select` shapes the answer of a write as that of a read, columns not asked for included."""
    answer = await (
        service.table("rest_notes")
        .insert({"title": "egg", "owner_id": 2})
        .select("title,rest_owners!owner_id(name)")
        .execute()
    )

    assert answer.data == [{"title": "egg", "rest_owners": {"name": "bob"}}]


async def test_single_undoes_a_write_of_several_rows(http: aiohttp.ClientSession) -> None:
    """What must be one row and is not was never written."""
    headers = {"Accept": "application/vnd.pgrst.object+json", "Prefer": "return=representation"}

    async with http.patch("rest_notes?id=gt.1", headers=headers, json={"title": "x"}) as response:
        assert (response.status, (await response.json())["code"]) == (406, "PGRST116")
    async with http.get("rest_notes?title=eq.x") as response:
        assert await response.json() == []


async def test_max_affected_undoes_a_write_of_more_rows(service: AsyncClient) -> None:
    """The bound holds before anything is committed."""
    with pytest.raises(APIError) as caught:
        await service.table("rest_notes").delete().gt("id", 0).max_affected(3).execute()

    assert caught.value.code == "PGRST124"
    assert len(await all_titles(service)) == 4


@pytest.mark.parametrize(
    ("body", "code"),
    [
        (b"", "PGRST102"),
        (b"{", "PGRST102"),
        (b"[1]", "PGRST102"),
        (b'"text"', "PGRST102"),
        (b'{"price": NaN}', "PGRST102"),
        (b'{"title": "\xff"}', "PGRST102"),
        (b"[" * 100_000, "PGRST102"),
        (b'[{"title": "x"}, {"code": "y"}]', "PGRST102"),
        (b'{"titel": "x"}', "PGRST204"),
        (b'{"title": "\\u0000"}', "22P05"),
    ],
)
async def test_bodies_that_cannot_be_inserted(
    http: aiohttp.ClientSession, body: bytes, code: str
) -> None:
    """Each is a 400 that says why."""
    headers = {"Content-Type": "application/json"}

    async with http.post("rest_notes", headers=headers, data=body) as response:
        assert (response.status, (await response.json())["code"]) == (400, code)


async def test_other_content_types_and_methods_are_refused_by_name(
    http: aiohttp.ClientSession,
) -> None:
    """CSV and PUT exist in PostgREST and not here; both are said to be missing."""
    async with http.post("rest_notes", data="a,b", headers={"Content-Type": "text/csv"}) as csv:
        assert (csv.status, "text/csv" in (await csv.json())["message"]) == (415, True)
    async with http.put("rest_notes?id=eq.1", json={"id": 1}) as put:
        assert (put.status, (await put.json())["code"]) == (405, "PGRST117")


async def test_invalid_preferences_are_refused_when_strict(http: aiohttp.ClientSession) -> None:
    """`handling=strict` turns an unknown preference into an error; otherwise it is ignored."""
    async with http.get("rest_notes", headers={"Prefer": "handling=strict, x=y"}) as strict:
        assert (strict.status, (await strict.json())["code"]) == (400, "PGRST122")
    async with http.get("rest_notes", headers={"Prefer": "x=y"}) as lenient:
        assert lenient.status == 200
