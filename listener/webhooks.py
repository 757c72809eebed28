"""
Hint 3: `POST /webhooks/supabase`, for a listener with an address.

A webhook makes the listener look, and nothing else: what there is to do is asked of the database.
So a forged, lost, doubled or late one costs a look or a wait, never a wrong task.
"""

import asyncio
import time
import uuid
from collections import Counter
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any, Final

from aiohttp import web
from pydantic import ValidationError

from listener.wake import Wake, WakeSource
from listener.webhooks_proof import Change, NotProven, Secrets
from runtime import logs, settings
from s3_sam3.contracts.bodies import Envelope, ErrorBody, Meta
from s3_sam3.contracts.errors import FACTS, ErrorCode


log = logs.get_logger(__name__)

PATH: Final = "/webhooks/supabase"

MAX_BODY_BYTES: Final = 64 * 1024
_BODY_SECONDS: Final = 5.0


class _Refused(Exception):
    def __init__(self, code: ErrorCode, message: str) -> None:
        super().__init__(message)
        self.code = code


class WebhookDoor:
    """Takes webhooks in and turns them into hints."""

    def __init__(
        self,
        wake: Wake,
        secrets: Secrets,
        *,
        now: Callable[[], float] = time.time,
    ) -> None:
        self.answers: Counter[int] = Counter()
        """How many webhooks were answered with each status."""
        self.port: int | None = None
        """Where it listens, once it does."""
        self._wake = wake
        self._secrets = secrets
        self._now = now

    def application(self) -> web.Application:
        """The door, as an application that is not yet served."""
        app = web.Application(client_max_size=MAX_BODY_BYTES)
        app.router.add_post(PATH, self._receive)
        return app

    async def open(self, host: str, port: int) -> web.AppRunner:
        """Listen; the caller cleans the runner up. Raises: SettingsError."""
        runner = web.AppRunner(
            self.application(),
            access_log=None,
            shutdown_timeout=1.0,
            # Signed are the bytes as they came, whatever Content-Encoding says of them.
            auto_decompress=False,
        )
        await runner.setup()
        try:
            await web.TCPSite(runner, host, port).start()
        except OSError as error:
            await runner.cleanup()
            msg = f"LISTENER_WEBHOOK_PORT: {error.strerror or error}"
            raise settings.SettingsError(msg) from None
        self.port = runner.addresses[0][1]
        log.info("webhooks_open", host=host, port=self.port, path=PATH)
        return runner

    async def _receive(self, request: web.Request) -> web.Response:
        try:
            await self._take(request)
        except _Refused as refusal:
            answer = _envelope(refusal)
        else:
            answer = web.Response(status=204)
        self.answers[answer.status] += 1
        return answer

    async def _take(self, request: web.Request) -> None:
        body = await _body(request)
        try:
            self._secrets.prove(request.headers, body, self._now())
        except NotProven as error:
            log.warning("webhook_refused", reason=str(error))
            raise _Refused(
                ErrorCode.UNAUTHENTICATED, "The webhook is not signed with a known secret."
            ) from None
        if _change(body).is_news:
            # One that comes twice makes the listener look twice, which is harmless.
            self._wake.hint(WakeSource.WEBHOOK)


async def _body(request: web.Request) -> bytes:
    try:
        async with asyncio.timeout(_BODY_SECONDS):
            return await request.read()
    except web.HTTPRequestEntityTooLarge:
        msg = f"A webhook may have at most {MAX_BODY_BYTES} bytes."
        raise _Refused(ErrorCode.FILE_TOO_LARGE, msg) from None
    except TimeoutError:
        msg = "The webhook's body did not arrive in time."
        raise _Refused(ErrorCode.INVALID_REQUEST, msg) from None


def _change(body: bytes) -> Change:
    try:
        return Change.model_validate_json(body)
    except ValidationError:
        msg = "The body is no Database Webhook: type, schema, table, record."
        raise _Refused(ErrorCode.INVALID_REQUEST, msg) from None


def _envelope(refusal: _Refused) -> web.Response:
    fact = FACTS[refusal.code]
    envelope = Envelope[dict[str, Any]](
        success=False,
        error=ErrorBody(code=refusal.code, message=str(refusal), retryable=fact.retryable),
        meta=Meta(request_id=uuid.uuid4().hex, timestamp=datetime.now(UTC)),
    )
    return web.Response(
        status=fact.status, text=envelope.model_dump_json(), content_type="application/json"
    )
