"""`/api/v1/webhooks`: addresses that users want told, and what was sent to them."""

import re
from datetime import datetime
from http import HTTPStatus
from typing import Annotated, Any, Final
from uuid import UUID

from aiohttp import web
from pydantic import Field, TypeAdapter

from api import answers, keys, pages, parsing
from api.problems import Problem
from api.route import Route
from s3_sam3.contracts import bodies, webhooks
from s3_sam3.contracts.errors import ErrorCode


_WEBHOOKS: Final = "webhook_endpoints"
_WEBHOOK_COLUMNS: Final = (
    "id,url,events,description,enabled,disabled_reason,failures,circuit_open_until,"
    "created_at,updated_at"
)
_DELIVERIES: Final = "webhook_deliveries"
_DELIVERY_COLUMNS: Final = (
    "id,endpoint_id,event,task_id,body,status,attempt_count,next_attempt_at,last_status_code,"
    "created_at,finished_at,"
    "attempts:webhook_attempts(attempted_at,status_code,latency_ms,answer,error)"
)
"""Named, never `*`: a delivery's fencing token is not granted."""

_SHOWN_ATTEMPTS: Final = 20
"""More than a whole schedule; redeliveries add more."""

_DELIVERY_ID: Final = r"^msg_[0-9a-f]{32}$"
_DELIVERY_ORDER: Final = pages.Order(
    ("created_at", "id"), TypeAdapter(tuple[datetime, Annotated[str, Field(pattern=_DELIVERY_ID)]])
)


class DeliveriesQuery(pages.PageQuery):
    """One page of a webhook's deliveries, of one status if wanted."""

    status: webhooks.DeliveryStatus | None = None


async def list_webhooks(request: web.Request) -> web.Response:
    """Answer all webhooks of the caller, oldest first."""
    select = _table(request, _WEBHOOKS).select(_WEBHOOK_COLUMNS)
    answer = await select.order("created_at").order("id").execute()
    items = tuple(_webhook(row) for row in answer.data)
    return answers.ok(request, webhooks.WebhookList(items=items))


async def create_webhook(request: web.Request) -> web.Response:
    """Add a webhook; its secret is in this answer and in no other."""
    body = await parsing.body(request, webhooks.WebhookRequest)
    made = await _call(request, "create_webhook", **body.model_dump(mode="json"))
    shown = _webhook(made["webhook"])
    webhook = webhooks.NewWebhook(**shown.model_dump(), secret=made["secret"])
    headers = {"Location": f"/api/v1/webhooks/{webhook.id}"}
    return answers.ok(request, webhook, status=HTTPStatus.CREATED, headers=headers)


async def get_webhook(request: web.Request) -> web.Response:
    """Answer one webhook."""
    return answers.ok(request, await _read(request, parsing.path_id(request)))


async def change_webhook(request: web.Request) -> web.Response:
    """Change a webhook, and end the pause after failures."""
    webhook_id = parsing.path_id(request)
    body = await parsing.body(request, webhooks.WebhookChange)
    changes = body.model_dump(mode="json", exclude_none=True)
    row = await _call(request, "update_webhook", id=str(webhook_id), **changes)
    return answers.ok(request, _webhook(row))


async def delete_webhook(request: web.Request) -> web.Response:
    """Delete a webhook with its secrets; deliveries on their way to it are not sent."""
    webhook_id = parsing.path_id(request)
    await _call(request, "delete_webhook", id=str(webhook_id))
    return answers.ok(request, bodies.Deleted(id=webhook_id))


async def test_webhook(request: web.Request) -> web.Response:
    """Have the event `webhook.test` delivered, signed and retried like any other."""
    delivery_id = await _call(request, "test_webhook", id=str(parsing.path_id(request)))
    return _queued(request, delivery_id)


async def rotate_webhook_secret(request: web.Request) -> web.Response:
    """Make a new secret, in this answer alone; the one before signs beside it for a day."""
    webhook_id = parsing.path_id(request)
    secret = await _call(request, "rotate_webhook_secret", id=str(webhook_id))
    return answers.ok(request, webhooks.WebhookSecret(id=webhook_id, secret=secret))


async def list_deliveries(request: web.Request) -> web.Response:
    """Answer one page of a webhook's deliveries, newest first, each with its attempts."""
    webhook_id = parsing.path_id(request)
    query = parsing.query(request, DeliveriesQuery)
    await _read(request, webhook_id)
    select = _table(request, _DELIVERIES).select(_DELIVERY_COLUMNS)
    select = select.eq("endpoint_id", str(webhook_id))
    if query.status is not None:
        select = select.eq("status", query.status.value)
    # An embedded resource is ordered and limited by its alias, not by its table.
    select = select.order("id", desc=True, foreign_table="attempts")
    select = select.limit(_SHOWN_ATTEMPTS, foreign_table="attempts")
    found, next_cursor = await pages.fetch(select, query, _DELIVERY_ORDER)
    items = tuple(_delivery(row) for row in found)
    return answers.ok(request, webhooks.DeliveryPage(items=items, next_cursor=next_cursor))


async def redeliver(request: web.Request) -> web.Response:
    """Send a delivery again: the same id and body, a new schedule."""
    webhook_id = parsing.path_id(request)
    delivery_id = request.match_info["delivery_id"]
    if re.fullmatch(_DELIVERY_ID, delivery_id) is None:
        raise Problem(ErrorCode.NOT_FOUND)
    wanted = {"id": delivery_id, "endpoint_id": str(webhook_id)}
    token = request[keys.PRINCIPAL].token
    rest = request.app[keys.REST]
    if await rest.select_one(_DELIVERIES, token, columns="id", **wanted) is None:
        raise Problem(ErrorCode.NOT_FOUND)
    await _call(request, "redeliver_webhook", delivery_id=delivery_id)
    return _queued(request, delivery_id)


def _table(request: web.Request, name: str) -> Any:
    return request.app[keys.REST].table(name, request[keys.PRINCIPAL].token)


async def _call(request: web.Request, function: str, **arguments: Any) -> Any:
    params = {f"p_{name}": value for name, value in arguments.items()}
    return await request.app[keys.REST].rpc(function, params, request[keys.PRINCIPAL].token)


async def _read(request: web.Request, webhook_id: UUID) -> webhooks.Webhook:
    """Read one webhook. Raises: Problem with NOT_FOUND."""
    rest, token = request.app[keys.REST], request[keys.PRINCIPAL].token
    row = await rest.select_one(_WEBHOOKS, token, columns=_WEBHOOK_COLUMNS, id=str(webhook_id))
    if row is None:
        raise Problem(ErrorCode.NOT_FOUND)
    return _webhook(row)


def _webhook(row: dict[str, Any]) -> webhooks.Webhook:
    return webhooks.Webhook.model_validate({**row, "paused_until": row["circuit_open_until"]})


def _delivery(row: dict[str, Any]) -> webhooks.Delivery:
    pending = row["status"] == webhooks.DeliveryStatus.PENDING
    return webhooks.Delivery.model_validate(
        {
            **row,
            "webhook_id": row["endpoint_id"],
            "next_attempt_at": row["next_attempt_at"] if pending else None,
        }
    )


def _queued(request: web.Request, delivery_id: str) -> web.Response:
    queued = webhooks.QueuedDelivery(delivery_id=delivery_id)
    return answers.ok(request, queued, status=HTTPStatus.ACCEPTED)


_ALL: Final = "/api/v1/webhooks"
_ONE: Final = "/api/v1/webhooks/{id}"

ROUTES: Final = (
    Route("GET", _ALL, list_webhooks, webhooks.WebhookList),
    Route(
        "POST",
        _ALL,
        create_webhook,
        webhooks.NewWebhook,
        status=HTTPStatus.CREATED,
        request=webhooks.WebhookRequest,
        errors=(ErrorCode.RATE_LIMITED,),
    ),
    Route("GET", _ONE, get_webhook, webhooks.Webhook),
    Route("PATCH", _ONE, change_webhook, webhooks.Webhook, request=webhooks.WebhookChange),
    Route("DELETE", _ONE, delete_webhook, bodies.Deleted),
    Route(
        "POST",
        f"{_ONE}/test",
        test_webhook,
        webhooks.QueuedDelivery,
        status=HTTPStatus.ACCEPTED,
        errors=(ErrorCode.INVALID_REQUEST, ErrorCode.RATE_LIMITED),
    ),
    Route("POST", f"{_ONE}/rotate-secret", rotate_webhook_secret, webhooks.WebhookSecret),
    Route(
        "GET",
        f"{_ONE}/deliveries",
        list_deliveries,
        webhooks.DeliveryPage,
        query=DeliveriesQuery,
    ),
    Route(
        "POST",
        f"{_ONE}/deliveries/{{delivery_id}}/redeliver",
        redeliver,
        webhooks.QueuedDelivery,
        status=HTTPStatus.ACCEPTED,
    ),
)
