"""`s3.webhooks`: events of tasks, sent to an https address."""

from collections.abc import Sequence
from typing import Any
from uuid import UUID

from s3_sam3.api import Api
from s3_sam3.contracts import bodies, webhooks
from s3_sam3.contracts.webhooks import DEFAULT_EVENTS, DeliveryStatus, WebhookEvent


_PATH = "/api/v1/webhooks"


class Webhooks:
    """
    The webhooks of one user.

    `create` and `rotate_secret` give a secret that is shown once; with it any Standard Webhooks
    library verifies what arrives. Every method raises ApiError or Unreachable.
    """

    def __init__(self, api: Api) -> None:
        self._api = api

    async def create(
        self,
        url: str,
        events: Sequence[WebhookEvent | str] = DEFAULT_EVENTS,
        *,
        description: str | None = None,
    ) -> webhooks.NewWebhook:
        """Send *events* to *url* (https); keep the answer's `secret`."""
        webhook = {"url": url, "events": list(events), "description": description}
        # Repeated after a lost answer it would make a second webhook, whose secret nobody has seen.
        return await self._api.call(
            "POST", _PATH, webhooks.NewWebhook, json=webhook, repeatable=False
        )

    async def list(self) -> webhooks.WebhookList:
        """All webhooks, oldest first."""
        return await self._api.call("GET", _PATH, webhooks.WebhookList)

    async def get(self, webhook_id: UUID) -> webhooks.Webhook:
        return await self._api.call("GET", f"{_PATH}/{webhook_id}", webhooks.Webhook)

    async def change(
        self,
        webhook_id: UUID,
        *,
        url: str | None = None,
        events: Sequence[WebhookEvent | str] | None = None,
        description: str | None = None,
        enabled: bool | None = None,
    ) -> webhooks.Webhook:
        """Change the fields that are not None, and end a pause after failures."""
        fields: dict[str, Any] = {
            "url": url,
            "events": None if events is None else [*events],
            "description": description,
            "enabled": enabled,
        }
        change = {name: value for name, value in fields.items() if value is not None}
        return await self._api.call("PATCH", f"{_PATH}/{webhook_id}", webhooks.Webhook, json=change)

    async def delete(self, webhook_id: UUID) -> bodies.Deleted:
        return await self._api.call("DELETE", f"{_PATH}/{webhook_id}", bodies.Deleted)

    async def test(self, webhook_id: UUID) -> webhooks.QueuedDelivery:
        """Queue a delivery of the event `webhook.test`."""
        return await self._api.call(
            "POST", f"{_PATH}/{webhook_id}/test", webhooks.QueuedDelivery, repeatable=False
        )

    async def rotate_secret(self, webhook_id: UUID) -> webhooks.WebhookSecret:
        """
        Make a new secret; the one before it also signs for 24 hours.

        A second rotation within that time ends the oldest secret at once.
        """
        return await self._api.call(
            "POST",
            f"{_PATH}/{webhook_id}/rotate-secret",
            webhooks.WebhookSecret,
            repeatable=False,
        )

    async def deliveries(
        self,
        webhook_id: UUID,
        *,
        limit: int = 20,
        cursor: str | None = None,
        status: DeliveryStatus | None = None,
    ) -> webhooks.DeliveryPage:
        """One page of deliveries, sent and pending, newest first, with each attempt."""
        return await self._api.call(
            "GET",
            f"{_PATH}/{webhook_id}/deliveries",
            webhooks.DeliveryPage,
            params={"limit": limit, "cursor": cursor, "status": status},
        )

    async def redeliver(self, webhook_id: UUID, delivery_id: str) -> webhooks.QueuedDelivery:
        """Send a delivery again, with the same id and body and a new schedule of retries."""
        return await self._api.call(
            "POST",
            f"{_PATH}/{webhook_id}/deliveries/{delivery_id}/redeliver",
            webhooks.QueuedDelivery,
        )
