"""The API's calls about webhooks and their deliveries; made with the caller's token."""

import re
from typing import Any, Final
from uuid import UUID

from adapters.rest import Rest
from api import cursor
from api.auth import Principal
from api.problems import Problem
from api.queries import DeliveriesQuery
from s3_sam3.contracts import webhook_bodies
from s3_sam3.contracts.errors import ErrorCode
from s3_sam3.contracts.webhooks import DeliveryStatus


_WEBHOOKS: Final = "webhook_endpoints"
_WEBHOOK_COLUMNS: Final = (
    "id,url,events,description,enabled,disabled_reason,failures,circuit_open_until,"
    "created_at,updated_at"
)
_DELIVERIES: Final = "webhook_deliveries"
_ATTEMPTS: Final = "attempts:webhook_attempts"
_DELIVERY_COLUMNS: Final = (
    "id,endpoint_id,event,task_id,body,status,attempt_count,next_attempt_at,last_status_code,"
    f"created_at,finished_at,{_ATTEMPTS}(attempted_at,status_code,latency_ms,answer,error)"
)
"""Named, never `*`: a delivery's fencing token is not granted."""

_SHOWN_ATTEMPTS: Final = 20
"""More than a whole schedule; redeliveries add more."""

_DELIVERY_ID: Final = re.compile(r"msg_[0-9a-f]{32}")


async def create(
    rest: Rest, who: Principal, request: webhook_bodies.WebhookRequest
) -> webhook_bodies.NewWebhook:
    """Add a webhook. Raises: RestRefused with `rate_limited` when the caller has ten."""
    asked = request.model_dump(mode="json")
    params = {f"p_{name}": value for name, value in asked.items()}
    made = await rest.rpc("create_webhook", params, who.token)
    return webhook_bodies.NewWebhook(
        **_webhook(made["webhook"]).model_dump(), secret=made["secret"]
    )


async def list_all(rest: Rest, who: Principal) -> webhook_bodies.WebhookList:
    """Read all webhooks, oldest first."""
    select = rest.table(_WEBHOOKS, who.token).select(_WEBHOOK_COLUMNS)
    found: list[Any] = list((await select.order("created_at").order("id").execute()).data)
    return webhook_bodies.WebhookList(items=tuple(_webhook(row) for row in found))


async def read(rest: Rest, who: Principal, webhook_id: UUID) -> webhook_bodies.Webhook:
    """Read one webhook. Raises: Problem with NOT_FOUND."""
    row = await rest.select_one(_WEBHOOKS, who.token, columns=_WEBHOOK_COLUMNS, id=str(webhook_id))
    if row is None:
        raise Problem(ErrorCode.NOT_FOUND)
    return _webhook(row)


async def update(
    rest: Rest, who: Principal, webhook_id: UUID, change: webhook_bodies.WebhookChange
) -> webhook_bodies.Webhook:
    """Change what *change* names, and end the pause after failures."""
    asked = change.model_dump(mode="json", exclude_none=True)
    params = {f"p_{name}": value for name, value in asked.items()}
    row = await rest.rpc("update_webhook", {"p_id": str(webhook_id), **params}, who.token)
    return _webhook(row)


async def delete(rest: Rest, who: Principal, webhook_id: UUID) -> None:
    """Delete a webhook, its secrets and its deliveries."""
    await rest.rpc("delete_webhook", {"p_id": str(webhook_id)}, who.token)


async def rotate_secret(rest: Rest, who: Principal, webhook_id: UUID) -> str:
    """Make a new secret; the one before signs beside it for a day."""
    secret = await rest.rpc("rotate_webhook_secret", {"p_id": str(webhook_id)}, who.token)
    return str(secret)


async def test(rest: Rest, who: Principal, webhook_id: UUID) -> str:
    """Have `webhook.test` delivered; the delivery's id."""
    return str(await rest.rpc("test_webhook", {"p_id": str(webhook_id)}, who.token))


async def deliveries(
    rest: Rest, who: Principal, webhook_id: UUID, query: DeliveriesQuery
) -> webhook_bodies.DeliveryPage:
    """Read one page, newest first. Raises: Problem with NOT_FOUND when the webhook is not there."""
    await read(rest, who, webhook_id)
    select = rest.table(_DELIVERIES, who.token).select(_DELIVERY_COLUMNS)
    select = select.eq("endpoint_id", str(webhook_id))
    if query.status is not None:
        select = select.eq("status", query.status.value)
    if query.cursor is not None:
        created_at, row_id = cursor.decode_time_and_text(query.cursor, _DELIVERY_ID)
        select = select.or_(
            f'created_at.lt."{created_at}",and(created_at.eq."{created_at}",id.lt.{row_id})'
        )
    select = select.order("created_at", desc=True).order("id", desc=True).limit(query.limit + 1)
    # The alias, not the table, is what an embedded resource is ordered and limited by.
    select = select.order("id", desc=True, foreign_table="attempts")
    select = select.limit(_SHOWN_ATTEMPTS, foreign_table="attempts")
    found: list[Any] = list((await select.execute()).data)
    shown = found[: query.limit]
    more = len(found) > query.limit
    return webhook_bodies.DeliveryPage(
        items=tuple(_delivery(row) for row in shown),
        next_cursor=cursor.encode(shown[-1]["created_at"], shown[-1]["id"]) if more else None,
    )


async def redeliver(rest: Rest, who: Principal, webhook_id: UUID, delivery_id: str) -> None:
    """Send a delivery again, under its id. Raises: Problem with NOT_FOUND."""
    if _DELIVERY_ID.fullmatch(delivery_id) is None:
        raise Problem(ErrorCode.NOT_FOUND)
    asked = {"id": delivery_id, "endpoint_id": str(webhook_id)}
    if await rest.select_one(_DELIVERIES, who.token, columns="id", **asked) is None:
        raise Problem(ErrorCode.NOT_FOUND)
    await rest.rpc("redeliver_webhook", {"p_delivery_id": delivery_id}, who.token)


def _webhook(row: dict[str, Any]) -> webhook_bodies.Webhook:
    return webhook_bodies.Webhook.model_validate({**row, "paused_until": row["circuit_open_until"]})


def _delivery(row: dict[str, Any]) -> webhook_bodies.Delivery:
    pending = row["status"] == DeliveryStatus.PENDING
    return webhook_bodies.Delivery.model_validate(
        {
            **row,
            "webhook_id": row["endpoint_id"],
            "next_attempt_at": row["next_attempt_at"] if pending else None,
        }
    )
