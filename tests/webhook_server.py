"""A listener's webhook server on a free port, and a sender for it."""

import asyncio
import contextlib
import json
import time
from collections.abc import AsyncIterator
from typing import Any

import aiohttp

from listener.wake import Wake, WakeSource
from listener.webhooks import PATH, Secrets, WebhookServer
from s3_sam3 import signatures
from s3_sam3.contracts.bodies import Envelope


SECRET, OTHER = "whsec_" + "b3Vycw" * 4, "whsec_" + "dGhlaXJz" * 4
SHARED = "a secret of the dashboard"
INSERT: dict[str, Any] = {
    "type": "INSERT",
    "schema": "public",
    "table": "segmentation_results",
    "record": {"id": "one", "status": "pending"},
    "old_record": None,
}


class OpenServer:
    """The running server, and how to post to it."""

    def __init__(self, wake: Wake, server: WebhookServer, http: aiohttp.ClientSession) -> None:
        self.wake = wake
        self.server = server
        self.http = http

    async def post(self, body: Any, headers: dict[str, str]) -> int:
        """Post *body* (bytes, or JSON); the status. An error must come in the envelope."""
        sent = body if isinstance(body, bytes) else json.dumps(body).encode()
        url = f"http://127.0.0.1:{self.server.port}{PATH}"
        async with self.http.post(url, data=sent, headers=headers) as answer:
            text = await answer.text()
            if answer.status != 204:
                assert not Envelope[Any].model_validate_json(text).success
            return answer.status

    async def post_signed(
        self, body: Any, *, webhook_id: str = "msg_one", secret: str = SECRET, age: int = 0
    ) -> int:
        """Post it signed."""
        sent = body if isinstance(body, bytes) else json.dumps(body).encode()
        moment = int(time.time()) - age
        return await self.post(sent, signatures.signed_headers([secret], webhook_id, moment, sent))

    async def woken(self) -> bool:
        """Whether the listener was woken since the last look, by a webhook."""
        try:
            source = await asyncio.wait_for(self.wake.wait(), timeout=0.02)
        except TimeoutError:
            return False
        assert source is WakeSource.WEBHOOK
        return True


@contextlib.asynccontextmanager
async def opened(
    *signing: str, shared: str | None = None, **options: Any
) -> AsyncIterator[OpenServer]:
    """A server on a free port."""
    wake = Wake()
    server = WebhookServer(wake, Secrets(signing=signing, shared=shared), **options)
    runner = await server.open(0)
    try:
        async with aiohttp.ClientSession() as http:
            yield OpenServer(wake, server, http)
    finally:
        await runner.cleanup()
