"""A webhook receiver that fails as a test tells it, and messages to replay to it."""

import asyncio
import contextlib
import json
import time
import uuid
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

from aiohttp import web

from s3_sam3 import signatures
from s3_sam3.messages import Attempt, Message


SECRET = "whsec_" + "MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"


@dataclass(kw_only=True)
class Receiver:
    """Verifies, counts an id once, and fails where `fail` says so."""

    secret: str = SECRET
    url: str = ""
    fail: Callable[[int], bool] = lambda n: False
    """Whether request number n (from 1) is answered 500; each second time after the effect."""
    answers: list[web.Response] = field(default_factory=list)
    """Given first, one each."""
    requests: list[tuple[dict[str, str], bytes]] = field(default_factory=list)
    refused: list[signatures.SignatureError] = field(default_factory=list)
    effects: Counter[str] = field(default_factory=Counter)
    gate: asyncio.Event | None = None
    """Nothing is answered before it is set."""
    failures: int = 0
    busy: Counter[str] = field(default_factory=Counter)
    overlapped: int = 0
    """Requests that came while another of the same task was worked on."""
    pause_seconds: float = 0.0
    """How long it works on each."""

    async def handle(self, request: web.Request) -> web.Response:
        """One webhook."""
        body = await request.read()
        self.requests.append((dict(request.headers), body))
        number = len(self.requests)
        if self.gate is not None:
            await self.gate.wait()
        if self.answers:
            return self.answers.pop(0)
        try:
            webhook_id = signatures.verify([self.secret], request.headers, body, time.time())
        except signatures.SignatureError as error:
            self.refused.append(error)
            return web.json_response({"error": type(error).__name__}, status=401)
        return await self._effect(webhook_id, json.loads(body)["data"]["task_id"], number)

    async def _effect(self, webhook_id: str, task: str, number: int) -> web.Response:
        self.busy[task] += 1
        self.overlapped += self.busy[task] > 1
        await asyncio.sleep(self.pause_seconds)
        self.busy[task] -= 1
        if not self.fail(number):
            self.effects[webhook_id] = 1
            return web.json_response({"ok": True})
        self.failures += 1
        if self.failures % 2:
            self.effects[webhook_id] = 1
        return web.json_response({"ok": False}, status=500)


@contextlib.asynccontextmanager
async def receiving(receiver: Receiver) -> AsyncIterator[Receiver]:
    """Let *receiver* serve on a free port."""
    app = web.Application()
    app.router.add_route("*", "/{path:.*}", receiver.handle)
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    receiver.url = f"http://127.0.0.1:{runner.addresses[0][1]}/hook"
    yield receiver
    if receiver.gate is not None:
        receiver.gate.set()
    await runner.cleanup()


@dataclass(frozen=True, slots=True, kw_only=True)
class Ran:
    """A finished `s3 replay`."""

    code: int
    out: str
    err: str

    @property
    def document(self) -> dict[str, Any]:
        """What --json printed."""
        found: dict[str, Any] = json.loads(self.out)
        return found


Start = Callable[..., Awaitable[asyncio.subprocess.Process]]
Replay = Callable[..., Awaitable[Ran]]


def message(**changes: Any) -> Message:
    """A message about a task of its own, that failed with 503 an hour ago."""
    task = str(uuid.uuid4())
    fields: dict[str, Any] = {
        "id": f"msg_{uuid.uuid4().hex}",
        "type": "task.done",
        "key": task,
        "body": json.dumps({"type": "task.done", "data": {"task_id": task}}).encode(),
        "created_at": datetime.now(UTC) - timedelta(hours=1),
        "last": Attempt(status=503, latency_ms=20, answer=b'{"ok": false}'),
    }
    return Message(**{**fields, **changes})
