"""
`POST /webhooks/supabase`: hints by webhook, for a listener that has an address.

A webhook makes the listener look, and nothing else: what there is to do is asked of the database.
So a forged, lost, doubled or late one costs a look or a wait, never a wrong task.

Signed webhooks (Standard Webhooks) come from our database and from the Edge Function
`notify-listener`. Supabase's native Database Webhooks cannot sign and carry a shared secret. Both
have the native body.
"""

import asyncio
import hmac
import time
import uuid
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from http import HTTPStatus
from typing import Any, Final, Literal

from aiohttp import web
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from listener.wake import Wake, WakeSource
from runtime import logs, settings
from s3_sam3 import signatures
from s3_sam3.contracts.bodies import Envelope, ErrorBody, Meta
from s3_sam3.contracts.errors import FACTS, ErrorCode
from s3_sam3.contracts.tasks import TaskStatus


log = logs.get_logger(__name__)

HOST: Final = "127.0.0.1"
"""TLS ends in a proxy on this host."""
PATH: Final = "/webhooks/supabase"
SHARED_SECRET_HEADER: Final = "x-webhook-secret"  # noqa: S105 - the name of a header, no secret
MAX_BODY_BYTES: Final = 64 * 1024

_BODY_SECONDS: Final = 5.0
_TASK_TABLE: Final = ("public", "segmentation_results")


class NotProven(Exception):
    """Neither a signature nor the shared secret says who sent the webhook."""


class Change(BaseModel):
    """A Database Webhook's body; other keys are ignored."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    type: Literal["INSERT", "UPDATE", "DELETE"]
    schema_: str = Field(alias="schema")
    table: str
    record: dict[str, Any] | None = None

    @property
    def is_news(self) -> bool:
        """Whether there may be a task to claim; a record without status counts as pending."""
        if (self.schema_, self.table) != _TASK_TABLE or self.record is None:
            return False
        return bool(self.record.get("status", TaskStatus.PENDING) == TaskStatus.PENDING)


@dataclass(frozen=True, slots=True, kw_only=True)
class Secrets:
    """What proves a sender; at least one of the two is there."""

    signing: tuple[str, ...] = field(default=(), repr=False)
    """Standard Webhooks secrets, `whsec_…`; several while they change."""
    shared: str | None = field(default=None, repr=False)

    def check(self, headers: Mapping[str, str], body: bytes, now: float) -> None:
        """
        Check who sent *body*, at *now* in Unix seconds.

        A webhook that has a signature is judged by it alone. Raises: NotProven.
        """
        if signatures.SIGNATURE_HEADER in headers:
            try:
                signatures.verify(self.signing, headers, body, now)
            except signatures.SignatureError as error:
                raise NotProven(type(error).__name__) from error
            return
        offered = headers.get(SHARED_SECRET_HEADER, "").encode(errors="surrogateescape")
        if not self.shared or not hmac.compare_digest(self.shared.encode(), offered):
            raise NotProven("no signature and no shared secret")


class _Refused(Exception):
    def __init__(self, code: ErrorCode, message: str) -> None:
        super().__init__(message)
        self.code = code


class WebhookServer:
    """Receives webhooks and turns news into hints."""

    def __init__(
        self, wake: Wake, secrets: Secrets, *, now: Callable[[], float] = time.time
    ) -> None:
        self.answers: Counter[int] = Counter()
        """How many webhooks were answered with each status."""
        self.port: int | None = None
        """None until it listens."""
        self._wake = wake
        self._secrets = secrets
        self._now = now

    def application(self) -> web.Application:
        """The routes, not yet served."""
        app = web.Application(client_max_size=MAX_BODY_BYTES)
        app.router.add_post(PATH, self._receive)
        return app

    async def open(self, port: int) -> web.AppRunner:
        """Listen; the caller cleans the runner up. Raises: SettingsError."""
        runner = web.AppRunner(
            self.application(),
            access_log=None,
            shutdown_timeout=1.0,
            # The signature is of the bytes as they came, so Content-Encoding is ignored.
            auto_decompress=False,
        )
        await runner.setup()
        try:
            await web.TCPSite(runner, HOST, port).start()
        except OSError as error:
            await runner.cleanup()
            msg = f"LISTENER_WEBHOOK_PORT: {error.strerror or error}"
            raise settings.SettingsError(msg) from None
        self.port = runner.addresses[0][1]
        log.info("webhooks_open", host=HOST, port=self.port, path=PATH)
        return runner

    async def _receive(self, request: web.Request) -> web.Response:
        try:
            await self._take(request)
        except _Refused as refusal:
            answer = _envelope(refusal)
        else:
            answer = web.Response(status=HTTPStatus.NO_CONTENT)
        self.answers[answer.status] += 1
        return answer

    async def _take(self, request: web.Request) -> None:
        body = await _body(request)
        try:
            self._secrets.check(request.headers, body, self._now())
        except NotProven as error:
            log.warning("webhook_refused", reason=str(error))
            raise _Refused(
                ErrorCode.UNAUTHENTICATED, "The webhook is not signed with a known secret."
            ) from None
        if _change(body).is_news:
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
