"""The contract page is what the code does."""

from enum import StrEnum
from typing import Any

import psycopg
import pytest
from contracts_page import PAGE, expected, tables_of

from api import openapi
from api.app import ROUTES
from s3_sam3.contracts import tasks, webhooks
from s3_sam3.contracts.errors import FACTS, ErrorCode


SAID = tables_of(PAGE.read_text())


@pytest.mark.parametrize("heading", expected())
def test_each_table_is_what_the_code_says(heading: str) -> None:
    """Routes, codes, statuses, limits, topics and models' fields are on the page as they are."""
    assert SAID[heading] == expected()[heading]


def test_no_table_is_left_unchecked() -> None:
    """A table that the code does not know is not on the page (the pipeline's routes apart)."""
    assert set(SAID) - set(expected()) == {"Pipeline"}


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("| `not_found` | 404 |", "| `not_found` | 410 |"),
        ("| `done` | yes |", "| `done` | no |"),
        ("| `GET /api/v1/me` |", "| `GET /api/v1/whoami` |"),
        ("| `sha256` | string |", "| `sha1` | string |"),
    ],
)
def test_a_changed_line_is_noticed(old: str, new: str) -> None:
    """Negative control: one changed cell makes its table differ from the code's."""
    text = PAGE.read_text()
    assert old in text

    changed = tables_of(text.replace(old, new))

    assert any(changed[heading] != rows for heading, rows in expected().items())


def test_the_pipeline_serves_what_the_page_says() -> None:
    """The internal routes of the page stand in the pipeline's tables."""
    source = "".join(path.read_text() for path in (PAGE.parents[2] / "pipeline").rglob("*.py"))
    paths = {row[0].strip("`").split()[1] for row in SAID["Pipeline"]}

    assert {path for path in paths if f'"{path}"' not in source} == set()


def test_openapi_has_the_routes_and_their_statuses() -> None:
    """The served document lists each route with its success and each status of its errors."""
    paths: dict[str, Any] = openapi.document(ROUTES)["paths"]
    listed = {(method.upper(), path) for path, methods in paths.items() for method in methods}

    assert listed == {(route.method, route.path) for route in ROUTES}
    for route in ROUTES:
        answers = set(paths[route.path][route.method.lower()]["responses"])
        failures = {str(FACTS[code].status) for code in route.codes}
        assert failures | {str(route.status)} <= answers


def test_openapi_says_where_to_try_again() -> None:
    """A response of retryable codes has `Retry-After`, and no other has."""
    segment = openapi.document(ROUTES)["paths"]["/api/v1/segment"]["post"]["responses"]

    told = {status for status, answer in segment.items() if "Retry-After" in answer["headers"]}

    assert told == {"429", "500", "503"}


def test_openapi_has_the_models_fields() -> None:
    """A schema of the document has exactly the fields of the page's table."""
    schemas: dict[str, Any] = openapi.document(ROUTES)["components"]["schemas"]
    shared = [name for name in schemas if f"`{name}`" in SAID]

    assert len(shared) > 15
    for name in shared:
        if "enum" not in schemas[name]:
            fields = {f"`{field}`" for field in schemas[name].get("properties", {})}
            assert fields == {row[0] for row in SAID[f"`{name}`"]}


def test_every_code_has_its_facts() -> None:
    """No code is without status, retryability and sentence."""
    assert set(FACTS) == set(ErrorCode)


@pytest.mark.parametrize(
    ("type_name", "labels"),
    [
        ("task_status", tasks.TaskStatus),
        ("user_tier", tasks.UserTier),
        ("usage_action", tasks.UsageAction),
        ("webhook_delivery_status", webhooks.DeliveryStatus),
    ],
)
async def test_postgres_has_the_same_labels(
    db: psycopg.AsyncConnection[Any], type_name: str, labels: type[StrEnum]
) -> None:
    """An enum of Postgres has the labels of ours, in the same order."""
    found = await db.execute(
        "select enumlabel from pg_enum where enumtypid = %s::regtype order by enumsortorder",
        [f"public.{type_name}"],
    )

    assert [label for (label,) in await found.fetchall()] == list(labels)
