"""tools/compare_catalogues.py: two databases are equal if nothing in their catalogues differs."""

import runpy
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psycopg
import pytest


TOOL = Path(__file__).parents[2] / "tools" / "compare_catalogues.py"

#: A change of each kind, and the object in which it must be seen.
CHANGES = {
    "create or replace function public.cancel_task(p_id uuid) returns text language sql"
    " security invoker set search_path = '' as 'select null::text'": (
        "function",
        "public.cancel_task(uuid)",
    ),
    "grant execute on function public.cancel_task to anon": (
        "function",
        "public.cancel_task(uuid)",
    ),
    "grant insert (status) on public.segmentation_results to authenticated": (
        "column",
        "public.segmentation_results.status",
    ),
    "alter table public.projects alter column name set default ''": (
        "column",
        "public.projects.name",
    ),
    "alter table public.projects drop constraint projects_name_length": (
        "constraint",
        "projects_name_length on public.projects",
    ),
    "alter table public.projects set (fillfactor = 70)": ("relation", "public.projects"),
    "alter table public.projects disable trigger projects_touch_updated_at": (
        "trigger",
        "projects_touch_updated_at on public.projects",
    ),
    'alter policy "Users read their own projects" on public.projects using (true)': (
        "policy",
        "Users read their own projects on public.projects",
    ),
    "drop index public.projects_by_user": ("index", "public.projects_by_user"),
    "alter type public.task_status add value 'lost'": ("type", "public.task_status"),
    "alter sequence segmentation.tokens increment 2": ("sequence", "segmentation.tokens"),
    "alter publication supabase_realtime drop table public.segmentation_results": (
        "publication",
        "supabase_realtime",
    ),
    "comment on column public.projects.name is 'Any.'": (
        "comment",
        "table column public.projects.name",
    ),
}


@pytest.fixture
def connection(stack: Any) -> Iterator[psycopg.Connection[Any]]:
    """A transaction on the migrated database, undone afterwards."""
    with psycopg.connect(stack.db_url) as opened, opened.transaction(force_rollback=True):
        yield opened


@pytest.fixture(scope="module")
def tool() -> dict[str, Callable[..., Any]]:
    """The functions of the program."""
    return runpy.run_path(str(TOOL))


@pytest.mark.parametrize("change", CHANGES)
def test_each_kind_of_change_is_seen(
    connection: Any, tool: dict[str, Callable[..., Any]], change: str
) -> None:
    """Negative control: the changed object is among what differs."""
    before = tool["read_catalogue"](connection)
    connection.execute(change)
    after = tool["read_catalogue"](connection)

    assert CHANGES[change] in [key for key, _ in tool["difference"](before, after)]


def test_a_changed_seed_is_seen(connection: Any, tool: dict[str, Callable[..., Any]]) -> None:
    """A row of a table that migrations fill counts too."""
    before = tool["read_catalogue"](connection)
    connection.execute("update segmentation.error_codes set fault = 'user' where code = 'internal'")
    after = tool["read_catalogue"](connection)

    assert [key[0] for key, _ in tool["difference"](before, after)] == ["row", "row"]


def test_what_did_not_change_is_equal(connection: Any, tool: dict[str, Callable[..., Any]]) -> None:
    """Reading twice finds no difference, and finds the tables at all."""
    before = tool["read_catalogue"](connection)
    after = tool["read_catalogue"](connection)

    assert ("relation", "public.segmentation_results") in before
    assert list(tool["difference"](before, after)) == []
