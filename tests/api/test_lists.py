"""Lists and folders: pages of results, the ledger, projects."""

from collections.abc import Awaitable, Callable
from typing import Any

import psycopg
import pytest


Draw = Callable[..., bytes]


async def test_pages_show_every_result_once(
    caller: Any, db: psycopg.AsyncConnection[Any], draw: Draw
) -> None:
    """Following the cursors shows each row once, newest first, even where created_at is equal."""
    image_url = await caller.upload(draw())
    tasks = [(await caller.submit(image_url)).data["task_id"] for _ in range(7)]
    await db.execute(
        "update public.segmentation_results set created_at = '2026-01-01' where id = any(%s)",
        (tasks[:5],),
    )
    seen: list[str] = []
    cursor = ""
    while True:
        page = (await caller.ask("GET", f"/api/v1/results?limit=2{cursor}")).data
        assert len(page["items"]) <= 2
        seen += [item["task_id"] for item in page["items"]]
        if page["next_cursor"] is None:
            break
        cursor = f"&cursor={page['next_cursor']}"

    assert seen[:2] == [tasks[6], tasks[5]]
    assert sorted(seen) == sorted(tasks)


async def test_a_page_can_be_narrowed(caller: Any, draw: Draw) -> None:
    """Status and project are filters, alone and together."""
    image_url = await caller.upload(draw())
    project = (await caller.ask("POST", "/api/v1/projects", json={"name": "one"})).data["id"]
    body = {"image_url": image_url, "text_prompt": "cat", "project_id": project}
    inside = (await caller.ask("POST", "/api/v1/segment", json=body)).data["task_id"]
    outside = (await caller.submit(image_url)).data["task_id"]
    await caller.ask("DELETE", f"/api/v1/tasks/{outside}")

    async def found(query: str) -> list[str]:
        page = (await caller.ask("GET", f"/api/v1/results?{query}")).data
        return [item["task_id"] for item in page["items"]]

    assert await found(f"project_id={project}") == [inside]
    assert await found("status=cancelled") == [outside]
    assert await found(f"status=cancelled&project_id={project}") == []
    assert await found("") == [outside, inside]


async def test_the_ledger_tells_where_credits_went(caller: Any, draw: Draw) -> None:
    """Grant, hold and release, newest first, page by page."""
    task = (await caller.submit(await caller.upload(draw()))).data["task_id"]
    await caller.ask("DELETE", f"/api/v1/tasks/{task}")

    first = (await caller.ask("GET", "/api/v1/usage?limit=2")).data
    second = (await caller.ask("GET", f"/api/v1/usage?cursor={first['next_cursor']}")).data

    told = [(row["action"], row["credits_used"]) for row in first["items"] + second["items"]]
    assert told == [("release", 1), ("hold", 1), ("grant", 100)]
    assert second["next_cursor"] is None


async def test_projects_are_kept_by_their_owner(new_caller: Callable[[], Awaitable[Any]]) -> None:
    """Made, read, renamed, listed, deleted; for another user they do not exist."""
    me, them = await new_caller(), await new_caller()
    made = await me.ask("POST", "/api/v1/projects", json={"name": "one"})
    path = made.headers["Location"]
    assert (made.status, made.data["name"]) == (201, "one")

    assert (await them.ask("PATCH", path, json={"name": "x"})).code == "not_found"
    assert (await them.ask("DELETE", path)).code == "not_found"
    assert (await me.ask("PATCH", path, json={"name": "two"})).data["name"] == "two"
    assert (await me.ask("GET", path)).data["name"] == "two"
    assert [p["name"] for p in (await me.ask("GET", "/api/v1/projects")).data["items"]] == ["two"]
    assert (await me.ask("DELETE", path)).data == {"id": made.data["id"]}
    assert (await me.ask("GET", path)).code == "not_found"


@pytest.mark.parametrize("body", [{}, {"name": ""}, {"name": "x" * 121}, {"name": "a", "id": "b"}])
async def test_a_bad_project_is_refused(caller: Any, body: dict[str, str]) -> None:
    """A name has 1 to 120 characters, and there is no other field."""
    assert (await caller.ask("POST", "/api/v1/projects", json=body)).code == "invalid_request"


async def test_results_survive_their_project(caller: Any, draw: Draw) -> None:
    """Deleting a project leaves its results outside any project."""
    project = (await caller.ask("POST", "/api/v1/projects", json={"name": "one"})).data["id"]
    body = {"image_url": await caller.upload(draw()), "text_prompt": "cat", "project_id": project}
    task = (await caller.ask("POST", "/api/v1/segment", json=body)).data["task_id"]

    await caller.ask("DELETE", f"/api/v1/projects/{project}")

    assert (await caller.ask("GET", f"/api/v1/results/{task}")).data["project_id"] is None
