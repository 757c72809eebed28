"""Reading through the official client."""

from collections.abc import Callable
from typing import Any

import aiohttp
import pytest
from postgrest import AsyncSelectRequestBuilder
from postgrest.exceptions import APIError

from supabase import AsyncClient


Select = AsyncSelectRequestBuilder
Narrow = Callable[[Select], Any]


async def titles(query: Select) -> list[str]:
    """First letters of the titles that *query* finds, in its order."""
    return [row["title"][0] for row in (await query.execute()).data]


@pytest.mark.parametrize(
    ("narrow", "expected"),
    [
        (lambda q: q.eq("title", "apple"), "a"),
        (lambda q: q.neq("title", "apple"), "bcd"),
        (lambda q: q.gt("price", 2.25), "d"),
        (lambda q: q.gte("price", "2.25"), "bd"),
        (lambda q: q.lt("id", 2), "a"),
        (lambda q: q.lte("id", 2), "ab"),
        (lambda q: q.like("title", "%rr%"), "bc"),
        (lambda q: q.like("title", "*rr*"), "bc"),
        (lambda q: q.ilike("title", "APP%"), "a"),
        (lambda q: q.like_any_of("title", "a*,b*"), "ab"),
        (lambda q: q.like_all_of("title", "*e*,*y"), "bc"),
        (lambda q: q.filter("title", "match", "^[ab]"), "ab"),
        (lambda q: q.filter("title", "imatch", "^[AB]"), "ab"),
        (lambda q: q.is_("price", None), "c"),
        (lambda q: q.not_.is_("price", None), "abd"),
        (lambda q: q.filter("price", "is", "not_null"), "abd"),
        (lambda q: q.filter("owner_id", "isdistinct", "1"), "cd"),
        (lambda q: q.in_("title", ["apple", 'date "d", (x)', "none"]), "ad"),
        (lambda q: q.in_("id", []), ""),
        (lambda q: q.not_.in_("id", [1, 2]), "cd"),
        (lambda q: q.contains("tags", ["red"]), "ab"),
        (lambda q: q.contained_by("tags", ["red"]), "bc"),
        (lambda q: q.overlaps("tags", ["round", "brown"]), "ad"),
        (lambda q: q.contains("meta", {"k": {"n": [3]}}), "b"),
        (lambda q: q.eq("meta->>word", "x,y"), "a"),
        (lambda q: q.eq("meta->k->n->>0", "3"), "b"),
        (lambda q: q.gt("tags->0", '"brown"'), "ab"),
        (lambda q: q.text_search("title", "cherry"), "c"),
        (lambda q: q.text_search("title", "cherries", {"config": "english"}), "c"),
        (lambda q: q.or_("id.eq.1,and(id.gte.3,price.is.null)"), "ac"),
        (lambda q: q.or_('title.in.("apple","none"),title.eq."date ""d""",tags.cs.{brown}'), "ad"),
        (lambda q: q.not_.or_("id.eq.1,id.eq.2"), "cd"),
        (lambda q: q.match({"owner_id": 1, "title": "berry"}), "b"),
    ],
)
async def test_filters(service: AsyncClient, narrow: Narrow, expected: str) -> None:
    """Each filter finds the rows that PostgreSQL's operator of that name finds."""
    query = service.table("rest_notes").select("title").order("id")

    assert "".join(await titles(narrow(query))) == expected


@pytest.mark.parametrize(
    ("narrow", "expected"),
    [
        (lambda q: q.order("title", desc=True), "dcba"),
        (lambda q: q.order("price", nullsfirst=True), "cabd"),
        (lambda q: q.order("price", desc=True, nullsfirst=False), "dbac"),
        (lambda q: q.order("owner_id", desc=True, nullsfirst=False).order("title"), "cabd"),
        (lambda q: q.order("meta->>word").order("id"), "abcd"),
        (lambda q: q.order("id").limit(2), "ab"),
        (lambda q: q.order("id").range(1, 2), "bc"),
        (lambda q: q.order("id").offset(3), "d"),
        (lambda q: q.limit(0), ""),
    ],
)
async def test_order_and_window(service: AsyncClient, narrow: Narrow, expected: str) -> None:
    """Rows come in the order and the part that was asked for."""
    assert "".join(await titles(narrow(service.table("rest_notes").select("title")))) == expected


async def test_values_are_rendered_by_postgresql(service: AsyncClient) -> None:
    """Timestamps, numerics, arrays and documents look as PostgREST shows them."""
    columns = "made_at,price,tags,meta,word:meta->>word,n:meta->k->n->0,price_text:price::text"

    answer = await service.table("rest_notes").select(columns).eq("id", 1).single().execute()

    assert answer.data == {
        "made_at": "2026-01-02T03:04:05.678+00:00",
        "price": 1.5,
        "tags": ["red", "round"],
        "meta": {"k": {"n": [1, 2]}, "word": "x,y"},
        "word": "x,y",
        "n": 1,
        "price_text": "1.50",
    }


async def test_to_one_and_to_many_embedding(service: AsyncClient) -> None:
    """Foreign keys are followed both ways; one row is an object, many an array."""
    notes = service.table("rest_notes").select("id,owner:rest_owners!owner_id(name)")
    owners = service.table("rest_owners").select("name,notes:rest_notes!owner_id(title)")

    one = await notes.order("id", desc=True).limit(2).execute()
    many = await owners.order("id").execute()

    assert one.data == [{"id": 4, "owner": None}, {"id": 3, "owner": {"name": "bob"}}]
    assert [len(row["notes"]) for row in many.data] == [2, 1, 0]


async def test_embedded_levels_have_their_own_filters_order_and_limit(
    service: AsyncClient,
) -> None:
    """`relation.filter=` narrows the embedded rows; with `!inner` also those that embed."""
    embedded = "name,rest_notes!rest_notes_owner_id_fkey{}(title)"
    outer = service.table("rest_owners").select(embedded.format(""))
    inner = service.table("rest_owners").select(embedded.format("!inner"), count="exact")

    last = (
        await outer.eq("id", 1)
        .order("id", desc=True, foreign_table="rest_notes")
        .limit(1, foreign_table="rest_notes")
        .execute()
    )
    only = await inner.eq("rest_notes.title", "cherry").limit(1).execute()

    assert last.data == [{"name": "ann", "rest_notes": [{"title": "berry"}]}]
    assert (only.data, only.count) == ([{"name": "bob", "rest_notes": [{"title": "cherry"}]}], 1)


async def test_nested_and_spread_embedding(service: AsyncClient) -> None:
    """Embedding nests, and `...` lifts the columns of a to-one relation."""
    columns = "title,...rest_owners!owner_id(name,others:rest_notes!owner_id(id))"

    answer = await service.table("rest_notes").select(columns).eq("id", 1).single().execute()

    assert answer.data == {"title": "apple", "name": "ann", "others": [{"id": 1}, {"id": 2}]}


@pytest.mark.parametrize(
    ("columns", "code"),
    [
        ("rest_owners(name)", "PGRST201"),
        ("rest_locked(id)", "PGRST200"),
        ("rest_owners!nothing(name)", "PGRST200"),
        ("title,price.sum()", "PGRST123"),
        ("nowhere", "42703"),
        ("title::nowhere", "42704"),
        ("title,,id", "PGRST100"),
    ],
)
async def test_impossible_selects_say_why(service: AsyncClient, columns: str, code: str) -> None:
    """What cannot be selected is an error with PostgREST's code."""
    with pytest.raises(APIError) as caught:
        await service.table("rest_notes").select(columns).execute()

    assert caught.value.code == code


async def test_a_filter_on_a_relation_that_is_not_embedded_is_refused(
    service: AsyncClient,
) -> None:
    """Ignored, such a filter would give rows that were not asked for."""
    with pytest.raises(APIError) as caught:
        await service.table("rest_notes").select("id").eq("rest_owners.name", "ann").execute()

    assert caught.value.code == "PGRST108"


@pytest.mark.parametrize("count", ["exact", "planned", "estimated"])
async def test_counts(service: AsyncClient, count: Any) -> None:
    """A count is of all rows, whatever the window; `head` counts without rows."""
    table = service.table("rest_notes")

    part = await table.select("id", count=count).gt("id", 1).limit(2).execute()
    head = await table.select("id", count=count, head=True).execute()

    assert (len(part.data), part.count, head.count, head.data) == (2, 3, 4, [])


async def test_single_and_maybe_single(service: AsyncClient) -> None:
    """`single` wants exactly one row; `maybe_single` takes none for an answer."""
    table = service.table("rest_notes")

    assert (await table.select("id").eq("id", 2).single().execute()).data == {"id": 2}
    assert await table.select("id").eq("id", 99).maybe_single().execute() is None
    for low in (0, 99):
        with pytest.raises(APIError) as caught:
            await table.select("id").gt("id", low).single().execute()
        assert caught.value.code == "PGRST116"
        assert caught.value.details in {"The result contains 4 rows", "The result contains 0 rows"}


async def test_nulls_can_be_stripped(service: AsyncClient) -> None:
    """`nulls=stripped` leaves null keys out, of objects and of arrays."""
    query = service.table("rest_notes").select("id,owner_id").gte("id", 3).order("id")

    assert (await query.strip_nulls().execute()).data == [{"id": 3, "owner_id": 2}, {"id": 4}]


@pytest.mark.parametrize(
    ("range_header", "status", "content_range"),
    [
        ("0-1", 206, "0-1/4"),
        ("2-", 206, "2-3/4"),
        ("0-9", 200, "0-3/4"),
        ("9-10", 416, None),
        ("3-1", 416, None),
    ],
)
async def test_range_header(
    http: aiohttp.ClientSession, range_header: str, status: int, content_range: str | None
) -> None:
    """The Range header is a window too, and Content-Range says what was given."""
    headers = {"Range": range_header, "Prefer": "count=exact"}

    async with http.get("rest_notes?select=id&order=id", headers=headers) as response:
        assert (response.status, response.headers.get("Content-Range")) == (status, content_range)


async def test_head_answers_as_get_does_without_a_body(http: aiohttp.ClientSession) -> None:
    """HEAD shows status and headers, and names an error where no body can."""
    async with http.head("rest_notes?limit=1", headers={"Prefer": "count=exact"}) as response:
        assert (response.status, response.headers["Content-Range"]) == (206, "0-0/4")
        assert await response.read() == b""
    async with http.head("rest_nowhere") as response:
        assert (response.status, response.headers["Proxy-Status"]) == (
            404,
            "PostgREST; error=PGRST205",
        )


@pytest.mark.parametrize("accept", ["text/csv", "application/vnd.pgrst.plan+json", "image/png"])
async def test_other_media_types_are_refused_by_name(
    http: aiohttp.ClientSession, accept: str
) -> None:
    """The gateway answers JSON; another wish is a clear 406."""
    async with http.get("rest_notes", headers={"Accept": accept}) as response:
        body = await response.json()

    assert (response.status, body["code"]) == (406, "PGRST107")
    assert accept in body["message"]


async def test_only_the_public_schema_is_exposed(http: aiohttp.ClientSession) -> None:
    """Another schema is refused by name, for reading and writing."""
    for method, header in (("GET", "Accept-Profile"), ("POST", "Content-Profile")):
        async with http.request(method, "users", headers={header: "auth"}) as response:
            body = await response.json()
        assert (response.status, body["code"]) == (406, "PGRST106")
        assert body["message"] == "Invalid schema: auth"


@pytest.mark.parametrize("path", ["", "a/b/c"])
async def test_other_paths_are_not_found(http: aiohttp.ClientSession, path: str) -> None:
    """There are tables and functions; the root has no OpenAPI document."""
    async with http.get(path) as response:
        assert (response.status, (await response.json())["code"]) == (404, "PGRST125")
