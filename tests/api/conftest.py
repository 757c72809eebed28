"""An API on the devstack, started as an operator starts it, and callers of it."""

import io
import json
import os
import select
import signal
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from PIL import Image

from adapters.objects import ObjectStore
from adapters.rest import Rest
from devstack import testing


START_SECONDS = 30.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Server:
    """A running `python -m api`."""

    url: str
    process: subprocess.Popen[bytes]
    log: Path

    def stop(self) -> int:
        """Ask it to stop and wait; its exit status."""
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
        try:
            return self.process.wait(20)
        finally:
            self.process.kill()

    def lines(self) -> list[dict[str, Any]]:
        """Its log, line by line."""
        return [json.loads(line) for line in self.log.read_text().splitlines()]


@dataclass(frozen=True, slots=True, kw_only=True)
class Reply:
    """An answer that was an envelope."""

    status: int
    headers: Any
    envelope: dict[str, Any]

    @property
    def data(self) -> Any:
        """The data of the answer."""
        return self.envelope["data"]

    @property
    def code(self) -> str | None:
        """The error's code; None: it was a success."""
        return None if self.envelope["success"] else str(self.envelope["error"]["code"])


@dataclass(frozen=True, slots=True, kw_only=True)
class Worker:
    """The other side of the queue, with the operator's keys."""

    rest: Rest
    store: ObjectStore
    in_hand: dict[str, dict[str, Any]] = field(default_factory=dict)
    """Tasks that were claimed beside the wanted one, by id."""

    async def claim(self, task_id: str) -> dict[str, Any]:
        """Claim tasks until that one is among them; others belong to tests that have ended."""
        asked = {"p_worker": "test", "p_limit": 10}
        for _ in range(200):
            if task_id in self.in_hand:
                return self.in_hand.pop(task_id)
            for claimed in await self.rest.rpc("claim_tasks", asked):
                self.in_hand[claimed["id"]] = claimed
        raise AssertionError(task_id)

    async def complete(self, claimed: dict[str, Any], manifest: bytes = b"manifest.json") -> str:
        """Store results and settle; the prefix they lie under."""
        prefix = f"results/{claimed['user_id']}/{claimed['id']}/{claimed['token']}/"
        files = {name: name.encode() for name in ("mask.png", "overlay.webp")}
        for name, data in {**files, "manifest.json": manifest}.items():
            await self.store.put(prefix + name, data, "application/octet-stream")
        settled = await self.rest.rpc(
            "complete_task",
            {
                "p_token": claimed["token"],
                "p_manifest_url": prefix + "manifest.json",
                "p_mask_image_url": prefix + "mask.png",
                "p_overlay_image_url": prefix + "overlay.webp",
                "p_instance_count": 3,
                "p_summary": {"instances": [3]},
            },
        )
        assert settled == "ok"
        return prefix


@dataclass(frozen=True, slots=True, kw_only=True)
class Caller:
    """A client of the API; every answer to it must be an envelope."""

    http: aiohttp.ClientSession
    user: testing.SignedUpUser | None

    async def ask(self, method: str, path: str, **how: Any) -> Reply:
        """Send one request."""
        headers = dict(how.pop("headers", {}))
        if self.user is not None:
            headers.setdefault("Authorization", f"Bearer {self.user.access_token}")
        async with self.http.request(method, path, headers=headers, **how) as answer:
            envelope = await answer.json()
        assert envelope.keys() == {"success", "data", "error", "meta"}
        assert envelope["meta"]["request_id"] == answer.headers["X-Request-Id"]
        assert envelope["success"] == (answer.status < 400)
        return Reply(status=answer.status, headers=answer.headers, envelope=envelope)

    async def upload(self, data: bytes) -> str:
        """Upload a picture; its image_url."""
        reply = await self.ask("POST", "/api/v1/upload", data=data)
        assert reply.status == 201, reply.envelope
        return str(reply.data["image_url"])

    async def submit(self, image_url: str, text: str = "red circle", **how: Any) -> Reply:
        """Submit a task of one text prompt."""
        body = {"image_url": image_url, "text_prompt": text}
        return await self.ask("POST", "/api/v1/segment", json=body, **how)

    async def segment(self, **body: Any) -> Reply:
        """Submit a task of that body; one text prompt unless it says otherwise."""
        if "prompts" not in body:
            body.setdefault("text_prompt", "red circle")
        return await self.ask("POST", "/api/v1/segment", json=body)

    async def balance(self) -> int:
        """Credits free to spend."""
        return int((await self.ask("GET", "/api/v1/me")).data["credits"])

    async def ledger(self) -> list[tuple[str, int]]:
        """The ledger's newest page, oldest first: action and credits."""
        entries = (await self.ask("GET", "/api/v1/usage?limit=100")).data["items"]
        return [(entry["action"], entry["credits_used"]) for entry in reversed(entries)]


def start_api(stack: testing.Stack, log: Path, **environ: str) -> Server:
    """Start `python -m api` on a free port and wait until it says where it listens."""
    names = ("SUPABASE_URL", "SUPABASE_ANON_KEY", "SUPABASE_JWT_SECRET", "R2_")
    env = {name: value for name, value in stack.env.items() if name.startswith(names)}
    env |= {"PATH": os.environ["PATH"], "API_PORT": "0", "S3_LOG_FORMAT": "json", **environ}
    with log.open("wb") as stderr:
        process = subprocess.Popen([sys.executable, "-m", "api"], env=env, stderr=stderr)
    deadline = time.monotonic() + START_SECONDS
    while True:
        for line in log.read_text().splitlines():
            if '"api_started"' in line:
                return Server(url=json.loads(line)["url"], process=process, log=log)
        if process.poll() is not None or time.monotonic() > deadline:
            process.kill()
            pytest.fail(f"the API did not start:\n{log.read_text()}")
        select.select([], [], [], 0.02)  # a file has no event to wait on


@pytest.fixture(scope="session")
def server(stack: testing.Stack, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """One API for all tests of a worker process; none of them may leave a trace in another."""
    running = start_api(stack, tmp_path_factory.mktemp("api") / "api.log")
    yield running
    running.stop()


@pytest.fixture
async def nobody(server: Server) -> AsyncIterator[Caller]:
    """A caller without a token."""
    async with aiohttp.ClientSession(base_url=server.url) as http:
        yield Caller(http=http, user=None)


@pytest.fixture
async def new_caller(
    nobody: Caller, new_user: Callable[..., Awaitable[testing.SignedUpUser]]
) -> Callable[[], Awaitable[Caller]]:
    """A factory of callers who just signed up (and have 100 credits)."""

    async def sign_up() -> Caller:
        return Caller(http=nobody.http, user=await new_user())

    return sign_up


@pytest.fixture
async def caller(new_caller: Callable[[], Awaitable[Caller]]) -> Caller:
    """One caller."""
    return await new_caller()


@pytest.fixture
async def worker(stack: testing.Stack) -> AsyncIterator[Worker]:
    """A worker and operator of the same stack."""
    async with (
        Rest(url=stack.url, key=stack.service_key) as rest,
        ObjectStore(
            endpoint=stack.r2_endpoint,
            access_key_id=stack.r2_access_key_id,
            secret_access_key=stack.r2_secret_access_key,
            bucket=stack.r2_bucket,
        ) as store,
    ):
        yield Worker(rest=rest, store=store)


def picture(
    format_name: str = "PNG", size: tuple[int, int] = (64, 48), colour: int = 0x2040C0, **how: Any
) -> bytes:
    """A small picture of one colour."""
    buffer = io.BytesIO()
    Image.new("RGB", size, colour).save(buffer, format_name, **how)
    return buffer.getvalue()


@pytest.fixture
def draw() -> Callable[..., bytes]:
    """`draw("JPEG", size=(64, 48))` makes a small picture."""
    return picture


@pytest.fixture
def start(stack: testing.Stack, tmp_path: Path) -> Iterator[Callable[..., Server]]:
    """Start another API: `start(API_CORS_ORIGINS="*")`; it is stopped at the end."""
    running: list[Server] = []

    def begin(**environ: str) -> Server:
        running.append(start_api(stack, tmp_path / f"api{len(running)}.log", **environ))
        return running[-1]

    yield begin
    for one in running:
        one.stop()
