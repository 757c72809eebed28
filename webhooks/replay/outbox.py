"""The source `outbox`: customers' deliveries and the attempts at them, by the service key."""

import dataclasses
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

from adapters.rest import Rest
from webhooks.replay.messages import Attempt, Message
from webhooks.replay.portions import portions
from webhooks.replay.selection import Selection


_COLUMNS: Final = "id,endpoint_id,event,task_id,body,created_at"
_PAGE: Final = 500
_ATTEMPTS_PAGE: Final = 1000
"""What PostgREST answers at most on a hosted project."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Endpoint:
    """Where a customer wants webhooks."""

    url: str
    enabled: bool


async def read(door: Rest, selection: Selection) -> list[Message]:
    """
    Deliveries that *selection* may mean (its mode, status, code and limit are left to the caller).

    Raises: RestError.
    """
    rows = await _deliveries(door, selection)
    endpoints = await _endpoints(door, {row["endpoint_id"] for row in rows})
    last = await _last_attempts(door, [row["id"] for row in rows])
    return [
        Message(
            id=row["id"],
            type=row["event"],
            key=row["task_id"] or row["id"],
            body=row["body"].encode(),
            created_at=datetime.fromisoformat(row["created_at"]),
            url=endpoints[row["endpoint_id"]].url,
            endpoint_id=row["endpoint_id"],
            enabled=endpoints[row["endpoint_id"]].enabled,
            last=last.get(row["id"]),
        )
        for row in rows
        # An endpoint that was deleted meanwhile took its deliveries along.
        if row["endpoint_id"] in endpoints
    ]


async def known(door: Rest, messages: Sequence[Message]) -> list[Message]:
    """
    *messages* with their endpoints as they are by now; one that was deleted is switched off.

    Raises: RestError.
    """
    ids = {message.endpoint_id for message in messages if message.endpoint_id}
    endpoints = await _endpoints(door, ids)
    return [_known(message, endpoints) for message in messages]


def _known(message: Message, endpoints: Mapping[str, Endpoint]) -> Message:
    if message.endpoint_id is None:
        return message
    now = endpoints.get(message.endpoint_id)
    if now is None:
        return dataclasses.replace(message, enabled=False)
    return dataclasses.replace(message, url=now.url, enabled=now.enabled)


async def secrets_of(door: Rest, endpoint_id: str) -> tuple[str, ...]:
    """What signs for an endpoint now, newest first. Raises: RestError."""
    found = await door.rpc("webhook_secrets_of", {"p_endpoint_id": endpoint_id}, idempotent=True)
    return tuple(found or ())


async def _deliveries(door: Rest, selection: Selection) -> list[dict[str, Any]]:
    if not selection.ids:
        return await _matching(door, selection)
    found: list[dict[str, Any]] = []
    for ids in portions(selection.ids):
        found += await _matching(door, dataclasses.replace(selection, ids=ids))
    return found


async def _matching(door: Rest, selection: Selection) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = []
    while True:
        query = door.table("webhook_deliveries").select(_COLUMNS)
        # By id: rows of one transaction share created_at, so that it could not be gone on from.
        query = query.order("id").limit(_PAGE).gt("id", found[-1]["id"] if found else "")
        if selection.ids:
            query = query.in_("id", selection.ids)
        if selection.tasks:
            query = query.in_("task_id", selection.tasks)
        if selection.since is not None:
            query = query.gte("created_at", selection.since.isoformat())
        if selection.until is not None:
            query = query.lt("created_at", selection.until.isoformat())
        page: list[Any] = list((await query.execute()).data)
        found += page
        if len(page) < _PAGE:
            return found


async def _endpoints(door: Rest, ids: Iterable[str]) -> dict[str, Endpoint]:
    found: dict[str, Endpoint] = {}
    for portion in portions(sorted(ids)):
        query = door.table("webhook_endpoints").select("id,url,enabled").in_("id", portion)
        page: list[Any] = list((await query.execute()).data)
        found |= {row["id"]: Endpoint(url=row["url"], enabled=row["enabled"]) for row in page}
    return found


async def _last_attempts(door: Rest, ids: Sequence[str]) -> dict[str, Attempt]:
    found: dict[str, Attempt] = {}
    for portion in portions(ids):
        for row in await _attempts(door, portion):
            found.setdefault(row["delivery_id"], _attempt(row))
    return found


async def _attempts(door: Rest, ids: Sequence[str]) -> list[dict[str, Any]]:
    """Every attempt at those deliveries, newest first."""
    found: list[dict[str, Any]] = []
    while True:
        query = door.table("webhook_attempts").select(
            "id,delivery_id,status_code,latency_ms,answer,error"
        )
        query = query.in_("delivery_id", ids).order("id", desc=True).limit(_ATTEMPTS_PAGE)
        if found:
            query = query.lt("id", found[-1]["id"])
        page: list[Any] = list((await query.execute()).data)
        found += page
        if len(page) < _ATTEMPTS_PAGE:
            return found


def _attempt(row: dict[str, Any]) -> Attempt:
    return Attempt(
        status=row["status_code"],
        latency_ms=row["latency_ms"],
        answer=(row["answer"] or "").encode(),
        error=row["error"],
    )
