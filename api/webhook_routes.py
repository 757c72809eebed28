"""The routes of webhooks, as a part of the table in routes.py."""

from typing import Final

from api.handlers import webhooks
from api.queries import DeliveriesQuery
from api.route import Route
from s3_sam3.contracts import bodies, webhook_bodies
from s3_sam3.contracts.errors import ErrorCode


_BAD_BODY: Final = (ErrorCode.EMPTY_BODY, ErrorCode.INVALID_REQUEST, ErrorCode.FILE_TOO_LARGE)
_WEBHOOK: Final = "/api/v1/webhooks/{id}"

ROUTES: Final = (
    Route(
        method="GET",
        path="/api/v1/webhooks",
        handler=webhooks.list_webhooks,
        answer=webhook_bodies.WebhookList,
    ),
    Route(
        method="POST",
        path="/api/v1/webhooks",
        handler=webhooks.create_webhook,
        request=webhook_bodies.WebhookRequest,
        answer=webhook_bodies.NewWebhook,
        status=201,
        errors=(*_BAD_BODY, ErrorCode.RATE_LIMITED),
    ),
    Route(
        method="GET",
        path=_WEBHOOK,
        handler=webhooks.get_webhook,
        answer=webhook_bodies.Webhook,
        errors=(ErrorCode.NOT_FOUND,),
    ),
    Route(
        method="PATCH",
        path=_WEBHOOK,
        handler=webhooks.change_webhook,
        request=webhook_bodies.WebhookChange,
        answer=webhook_bodies.Webhook,
        errors=(*_BAD_BODY, ErrorCode.NOT_FOUND),
    ),
    Route(
        method="DELETE",
        path=_WEBHOOK,
        handler=webhooks.delete_webhook,
        answer=bodies.Deleted,
        errors=(ErrorCode.NOT_FOUND,),
    ),
    Route(
        method="POST",
        path=f"{_WEBHOOK}/test",
        handler=webhooks.test_webhook,
        answer=webhook_bodies.QueuedDelivery,
        status=202,
        errors=(ErrorCode.INVALID_REQUEST, ErrorCode.NOT_FOUND, ErrorCode.RATE_LIMITED),
    ),
    Route(
        method="POST",
        path=f"{_WEBHOOK}/rotate-secret",
        handler=webhooks.rotate_webhook_secret,
        answer=webhook_bodies.WebhookSecret,
        errors=(ErrorCode.NOT_FOUND,),
    ),
    Route(
        method="GET",
        path=f"{_WEBHOOK}/deliveries",
        handler=webhooks.list_deliveries,
        query=DeliveriesQuery,
        answer=webhook_bodies.DeliveryPage,
        errors=(ErrorCode.INVALID_REQUEST, ErrorCode.NOT_FOUND),
    ),
    Route(
        method="POST",
        path=f"{_WEBHOOK}/deliveries/{{delivery_id}}/redeliver",
        handler=webhooks.redeliver,
        answer=webhook_bodies.QueuedDelivery,
        status=202,
        errors=(ErrorCode.NOT_FOUND,),
    ),
)
