"""The operations of `/api/v1/webhooks`; each is one call."""

from aiohttp import web

from api import answers, incoming, keys, webhook_store
from api.queries import DeliveriesQuery
from s3_sam3.contracts import bodies, webhook_bodies


async def list_webhooks(request: web.Request) -> web.Response:
    """Answer all webhooks of the caller."""
    who = request[keys.PRINCIPAL]
    return answers.ok(request, await webhook_store.list_all(request.app[keys.REST], who))


async def create_webhook(request: web.Request) -> web.Response:
    """Add a webhook; its secret is in this answer and in no other."""
    body = await incoming.body(request, webhook_bodies.WebhookRequest)
    who = request[keys.PRINCIPAL]
    made = await webhook_store.create(request.app[keys.REST], who, body)
    headers = {"Location": f"/api/v1/webhooks/{made.id}"}
    return answers.ok(request, made, status=201, headers=headers)


async def get_webhook(request: web.Request) -> web.Response:
    """Answer one webhook."""
    webhook_id = incoming.path_id(request)
    who = request[keys.PRINCIPAL]
    return answers.ok(request, await webhook_store.read(request.app[keys.REST], who, webhook_id))


async def change_webhook(request: web.Request) -> web.Response:
    """Change a webhook, and end the pause after failures."""
    webhook_id = incoming.path_id(request)
    body = await incoming.body(request, webhook_bodies.WebhookChange)
    who = request[keys.PRINCIPAL]
    changed = await webhook_store.update(request.app[keys.REST], who, webhook_id, body)
    return answers.ok(request, changed)


async def delete_webhook(request: web.Request) -> web.Response:
    """Delete a webhook; what was on its way to it is not sent."""
    webhook_id = incoming.path_id(request)
    who = request[keys.PRINCIPAL]
    await webhook_store.delete(request.app[keys.REST], who, webhook_id)
    return answers.ok(request, bodies.Deleted(id=webhook_id))


async def test_webhook(request: web.Request) -> web.Response:
    """Have the event `webhook.test` delivered, signed and tried again like any other."""
    webhook_id = incoming.path_id(request)
    who = request[keys.PRINCIPAL]
    delivery_id = await webhook_store.test(request.app[keys.REST], who, webhook_id)
    return answers.ok(request, webhook_bodies.QueuedDelivery(delivery_id=delivery_id), status=202)


async def rotate_webhook_secret(request: web.Request) -> web.Response:
    """Make a new secret; it is in this answer and in no other."""
    webhook_id = incoming.path_id(request)
    who = request[keys.PRINCIPAL]
    secret = await webhook_store.rotate_secret(request.app[keys.REST], who, webhook_id)
    return answers.ok(request, webhook_bodies.WebhookSecret(id=webhook_id, secret=secret))


async def list_deliveries(request: web.Request) -> web.Response:
    """Answer one page of what a webhook was and will be told, with each attempt."""
    webhook_id = incoming.path_id(request)
    query = incoming.query(request, DeliveriesQuery)
    who = request[keys.PRINCIPAL]
    page = await webhook_store.deliveries(request.app[keys.REST], who, webhook_id, query)
    return answers.ok(request, page)


async def redeliver(request: web.Request) -> web.Response:
    """Send a delivery again: the same id and body, a fresh schedule."""
    webhook_id = incoming.path_id(request)
    delivery_id = request.match_info["delivery_id"]
    who = request[keys.PRINCIPAL]
    await webhook_store.redeliver(request.app[keys.REST], who, webhook_id, delivery_id)
    return answers.ok(request, webhook_bodies.QueuedDelivery(delivery_id=delivery_id), status=202)
