"""
Messages from the database, read with the service key.

`outbox`: the users' deliveries and the attempts at them. `rows`: Supabase's own webhook form,
rebuilt from segmentation_results as they are now:

    {"type","table","schema","record","old_record"}

A row keeps no history: a pending one becomes the INSERT that it was, any other an UPDATE whose
old_record is null. The message's id is made of the row's id and its last change, so it is stable.
"""

import dataclasses
import json
import re
import uuid
from collections.abc import AsyncIterator, Callable, Collection, Iterable, Mapping, Sequence
from contextlib import asynccontextmanager
from datetime import datetime
from functools import partial
from typing import Any, Final

from postgrest import AsyncSelectRequestBuilder

from adapters.rest import Rest
from runtime import settings
from s3_sam3.messages import Attempt, Message
from webhooks.replay import UsageError
from webhooks.replay.selection import Selection


TABLE: Final = "segmentation_results"

_PAGE: Final = 500
"""Hosted PostgREST answers at most 1000 rows."""

_IDS_PER_REQUEST: Final = 100
"""Ids are part of a URL, whose length is limited."""

_ROW_MESSAGE: Final = re.compile(r"row_([0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12})_\d+")

Row = dict[str, Any]
Query = AsyncSelectRequestBuilder


@asynccontextmanager
async def connected() -> AsyncIterator[Rest]:
    """REST with the service key of the environment. Raises: SettingsError."""
    config = settings.load(settings.ServiceKeySettings)
    key = config.supabase_service_key.get_secret_value()
    async with Rest(url=config.supabase_url, key=key) as rest:
        yield rest


async def read_outbox(rest: Rest, selection: Selection) -> list[Message]:
    """
    Deliveries by id, task and time; the caller applies the other filters.

    Raises: UsageError, RestError.
    """
    columns = "id,endpoint_id,event,task_id,body,created_at"
    rows = await _selected(rest, "webhook_deliveries", columns, "task_id", selection, selection.ids)
    endpoints = await _endpoints(rest, {row["endpoint_id"] for row in rows})
    last = await _last_attempts(rest, [row["id"] for row in rows])
    return [
        Message(
            id=row["id"],
            type=row["event"],
            key=row["task_id"] or row["id"],
            body=row["body"].encode(),
            created_at=datetime.fromisoformat(row["created_at"]),
            url=endpoints[row["endpoint_id"]]["url"],
            endpoint_id=row["endpoint_id"],
            enabled=endpoints[row["endpoint_id"]]["enabled"],
            last=last.get(row["id"]),
        )
        for row in rows
        # An endpoint that was deleted meanwhile took its deliveries with it.
        if row["endpoint_id"] in endpoints
    ]


async def read_rows(rest: Rest, selection: Selection) -> list[Message]:
    """Rows by message id, task and time. Raises: UsageError, RestError."""
    # A message's id names its row; an id that names none is in no source.
    ids = [found[1] for each in selection.ids if (found := _ROW_MESSAGE.fullmatch(each))]
    if selection.ids and not ids:
        return []
    return [row_message(row) for row in await _selected(rest, TABLE, "*", "id", selection, ids)]


def row_message(row: Row) -> Message:
    """The webhook that Supabase would send about *row*."""
    kind = "INSERT" if row["status"] == "pending" else "UPDATE"
    changed = datetime.fromisoformat(row["updated_at"])
    body = {"type": kind, "table": TABLE, "schema": "public", "record": row, "old_record": None}
    return Message(
        id=f"row_{row['id']}_{changed.timestamp() * 1e6:.0f}",
        type=kind,
        key=row["id"],
        body=json.dumps(body, separators=(",", ":"), ensure_ascii=False).encode(),
        created_at=datetime.fromisoformat(row["created_at"]),
    )


async def with_endpoints(rest: Rest, messages: Sequence[Message]) -> list[Message]:
    """
    *messages* with their endpoints as they are now; a deleted one counts as switched off.

    Raises: RestError.
    """
    ids = {message.endpoint_id for message in messages if message.endpoint_id}
    endpoints = await _endpoints(rest, ids)
    return [_with_endpoint(message, endpoints) for message in messages]


def _with_endpoint(message: Message, endpoints: Mapping[str, Row]) -> Message:
    if message.endpoint_id is None:
        return message
    now = endpoints.get(message.endpoint_id)
    if now is None:
        return dataclasses.replace(message, enabled=False)
    return dataclasses.replace(message, url=now["url"], enabled=now["enabled"])


async def secrets_of(rest: Rest, endpoint_id: str) -> tuple[str, ...]:
    """What signs for an endpoint now, newest first. Raises: RestError."""
    found = await rest.rpc("webhook_secrets_of", {"p_endpoint_id": endpoint_id}, idempotent=True)
    return tuple(found or ())


async def _selected(
    rest: Rest,
    table: str,
    columns: str,
    task_column: str,
    selection: Selection,
    ids: Collection[str],
) -> list[Row]:
    """Rows of *table* by id (empty: any), task and time."""
    for task in selection.tasks:
        _check_task(task)

    def query(batch: Sequence[str]) -> Query:
        found = rest.table(table).select(columns)
        if batch:
            found = found.in_("id", batch)
        if selection.tasks:
            found = found.in_(task_column, selection.tasks)
        if selection.since is not None:
            found = found.gte("created_at", selection.since.isoformat())
        if selection.until is not None:
            found = found.lt("created_at", selection.until.isoformat())
        return found

    batches = _batches(sorted(ids)) if ids else [()]
    return [row for batch in batches for row in await _every_page(partial(query, batch))]


async def _endpoints(rest: Rest, ids: Iterable[str]) -> dict[str, Row]:
    found: dict[str, Row] = {}
    for batch in _batches(sorted(ids)):
        query = rest.table("webhook_endpoints").select("id,url,enabled").in_("id", batch)
        page: list[Any] = list((await query.execute()).data)
        found |= {row["id"]: row for row in page}
    return found


async def _last_attempts(rest: Rest, ids: Sequence[str]) -> dict[str, Attempt]:
    columns = "id,delivery_id,status_code,latency_ms,answer,error"

    def query(batch: Sequence[str]) -> Query:
        return rest.table("webhook_attempts").select(columns).in_("delivery_id", batch)

    found: dict[str, Attempt] = {}
    for batch in _batches(ids):
        for row in await _every_page(partial(query, batch)):
            found[row["delivery_id"]] = Attempt(
                status=row["status_code"],
                latency_ms=row["latency_ms"],
                answer=(row["answer"] or "").encode(),
                error=row["error"],
            )
    return found


def _batches(ids: Sequence[str]) -> list[tuple[str, ...]]:
    starts = range(0, len(ids), _IDS_PER_REQUEST)
    return [tuple(ids[start : start + _IDS_PER_REQUEST]) for start in starts]


async def _every_page(query: Callable[[], Query]) -> list[Row]:
    """
    All rows of *query*, which makes a new query for each page, in the order of their ids.

    Pages follow each other by id: rows of one transaction share created_at.
    """
    found: list[Row] = []
    while True:
        page_query = query().order("id").limit(_PAGE)
        if found:
            page_query = page_query.gt("id", found[-1]["id"])
        page: list[Any] = list((await page_query.execute()).data)
        found += page
        if len(page) < _PAGE:
            return found


def _check_task(text: str) -> None:
    try:
        uuid.UUID(text)
    except ValueError as error:
        msg = f"{text!r} is no id of a task."
        raise UsageError(msg) from error
