"""What operators and browsers ask of the API."""

import asyncio
import os
import re
import signal
import subprocess
import sys
from collections.abc import Awaitable, Callable
from typing import Any

import aiohttp
import pytest

from devstack import testing


async def test_health_and_readiness(nobody: Any) -> None:
    """A running API says so, and says that what it needs answers."""
    assert (await nobody.ask("GET", "/health")).data == {"status": "ok"}
    assert (await nobody.ask("GET", "/ready")).data == {"supabase": True, "objects": True}


async def test_readiness_names_what_is_missing(start: Callable[..., Any]) -> None:
    """With the object store gone the API lives, is not ready, and says to come back."""
    server = start(R2_ENDPOINT="http://127.0.0.1:9")
    async with aiohttp.ClientSession(base_url=server.url) as http:
        async with http.get("/health") as answer:
            assert answer.status == 200
        async with http.get("/ready") as answer:
            envelope = await answer.json()

    assert answer.status == 503
    assert envelope["error"]["code"] == "upstream_unavailable"
    assert envelope["error"]["details"] == {"supabase": True, "objects": False}
    assert int(answer.headers["Retry-After"]) > 0


async def test_a_database_that_is_gone_is_a_503(start: Callable[..., Any], caller: Any) -> None:
    """An outage of the database is a 503 in an envelope, and retryable."""
    gone = start(R2_ENDPOINT="http://127.0.0.1:9")
    headers = {"Authorization": f"Bearer {caller.user.access_token}"}
    body = {"image_url": f"uploads/{caller.user.id}/x.png", "text_prompt": "cat"}
    async with (
        aiohttp.ClientSession(base_url=gone.url, headers=headers) as http,
        http.post("/api/v1/segment", json=body) as answer,
    ):
        error = (await answer.json())["error"]

    assert (answer.status, error["code"], error["retryable"]) == (503, "upstream_unavailable", True)


async def test_metrics_count_operations(nobody: Any, server: Any) -> None:
    """Prometheus finds each operation by its name, and no id or path in a label."""
    await nobody.ask("GET", "/health")
    async with nobody.http.get("/metrics") as answer:
        text = await answer.text()

    assert answer.headers["Content-Type"].startswith("text/plain; version=0.0.4")
    assert re.search(r's3_api_requests_total\{operation="get_health",status="200"\} \d', text)


@pytest.mark.parametrize(
    ("offered", "taken"), [("abc-123", True), ("x" * 65, False), ("a b", False), ("é", False)]
)
async def test_a_request_keeps_its_name(nobody: Any, offered: str, *, taken: bool) -> None:
    """A well-formed X-Request-Id comes back; others are replaced, so logs cannot be forged."""
    reply = await nobody.ask("GET", "/health", headers={"X-Request-Id": offered})

    assert (reply.envelope["meta"]["request_id"] == offered) is taken


async def test_a_missing_token_is_named(nobody: Any) -> None:
    """401 tells how to sign in, before anything else is looked at."""
    reply = await nobody.ask("POST", "/api/v1/segment", data=b"not json")

    assert (reply.status, reply.code) == (401, "unauthenticated")
    assert reply.headers["WWW-Authenticate"] == "Bearer"


async def test_every_private_route_wants_a_token(nobody: Any) -> None:
    """No route under /api/ answers without a token."""
    from api.app import ROUTES

    for route in ROUTES:
        if route.path.startswith("/api/"):
            reply = await nobody.ask(route.method, re.sub(r"{\w+}", "x", route.path))
            assert reply.code == "unauthenticated", route.path


async def test_the_projects_own_keys_sign_nobody_in(nobody: Any, stack: testing.Stack) -> None:
    """The anon key and the service key are no users."""
    for key in (stack.anon_key, stack.service_key):
        headers = {"Authorization": f"Bearer {key}"}
        assert (await nobody.ask("GET", "/api/v1/me", headers=headers)).code == "unauthenticated"


async def test_pages_of_any_origin_may_ask(nobody: Any) -> None:
    """A preflight is answered without a token, and errors too can be read by the page."""
    asked = {"Origin": "https://app.example", "Access-Control-Request-Method": "DELETE"}
    async with nobody.http.options("/api/v1/tasks/x", headers=asked) as answer:
        assert answer.status == 204
        assert answer.headers["Access-Control-Allow-Origin"] == "*"
        assert "DELETE" in answer.headers["Access-Control-Allow-Methods"]
        assert "Idempotency-Key" in answer.headers["Access-Control-Allow-Headers"]
    refused = await nobody.ask("GET", "/api/v1/me", headers={"Origin": "https://app.example"})

    assert refused.headers["Access-Control-Allow-Origin"] == "*"
    assert "Retry-After" in refused.headers["Access-Control-Expose-Headers"]


async def test_origins_can_be_narrowed(start: Callable[..., Any]) -> None:
    """With a list of origins only those are allowed, and caches are told that it matters."""
    server = start(API_CORS_ORIGINS="https://one.example, https://two.example")
    async with aiohttp.ClientSession(base_url=server.url) as http:
        allowed = {}
        for origin in ("https://two.example", "https://evil.example"):
            async with http.get("/health", headers={"Origin": origin}) as answer:
                allowed[origin] = answer.headers.get("Access-Control-Allow-Origin")
                assert answer.headers["Vary"] == "Origin"

    assert allowed == {"https://two.example": "https://two.example", "https://evil.example": None}


async def test_the_openapi_document_is_served(nobody: Any) -> None:
    """/openapi.json is the document itself."""
    async with nobody.http.get("/openapi.json") as answer:
        document = await answer.json()

    assert document["openapi"] == "3.1.0"


async def test_a_stop_lets_open_requests_end(
    start: Callable[..., Any], caller: Any, draw: Callable[..., bytes]
) -> None:
    """SIGTERM ends a waiting request with its answer, not with a broken connection."""
    image_url = await caller.upload(draw())
    server = start()
    headers = {"Authorization": f"Bearer {caller.user.access_token}"}
    body = {"image_url": image_url, "text_prompt": "cat"}
    async with aiohttp.ClientSession(base_url=server.url, headers=headers) as http:
        waiting = asyncio.create_task(_post(http, "/api/v1/segment?wait=60", body))
        async with asyncio.timeout(5):
            while not (await caller.ask("GET", "/api/v1/results")).data["items"]:
                pass
        server.process.send_signal(signal.SIGTERM)
        async with asyncio.timeout(5):
            status, envelope = await waiting

    assert (status, envelope["data"]["status"]) == (202, "pending")
    assert await asyncio.to_thread(server.process.wait, 5) == 0


async def _post(http: aiohttp.ClientSession, path: str, body: Any) -> tuple[int, Any]:
    async with http.post(path, json=body) as answer:
        return answer.status, await answer.json()


async def test_a_stop_lets_an_upload_end(
    start: Callable[..., Any],
    caller: Any,
    draw: Callable[..., bytes],
    eventually: Callable[..., Awaitable[None]],
) -> None:
    """An upload that is under way when SIGTERM comes is stored and answered."""
    server = start()
    headers = {"Authorization": f"Bearer {caller.user.access_token}"}
    gate = asyncio.Event()
    data = draw()

    async def slow() -> Any:
        yield data[:40]
        await gate.wait()
        yield data[40:]

    async with aiohttp.ClientSession(base_url=server.url, headers=headers) as http:
        uploading = asyncio.create_task(_upload(http, slow()))
        async with http.get("/metrics") as answer:
            assert answer.status == 200

        async def under_way() -> bool:
            async with http.get("/metrics") as answer:
                return "s3_api_requests_open 2.0" in await answer.text()

        await eventually(under_way)
        server.process.send_signal(signal.SIGTERM)
        await eventually(lambda: any(line["event"] == "api_stopping" for line in server.lines()))
        gate.set()
        async with asyncio.timeout(10):
            assert await uploading == 201


async def _upload(http: aiohttp.ClientSession, data: Any) -> int:
    async with http.post("/api/v1/upload", data=data) as answer:
        return answer.status


def test_missing_settings_are_named_in_one_sentence() -> None:
    """Without its variables the API leaves with 78 and names every one of them."""
    env = {"PATH": os.environ["PATH"], "SUPABASE_URL": "", "API_PORT": "many"}

    ended = subprocess.run(
        [sys.executable, "-m", "api"], env=env, capture_output=True, text=True, check=False
    )

    assert ended.returncode == 78
    assert len(ended.stderr.splitlines()) == 1
    for name in ("SUPABASE_URL", "SUPABASE_ANON_KEY", "R2_ENDPOINT", "R2_BUCKET", "API_PORT"):
        assert name in ended.stderr


async def test_no_token_is_ever_logged(server: Any, caller: Any) -> None:
    """The log holds no bearer token, not even of a refused request."""
    await caller.ask("GET", "/api/v1/me")
    await caller.ask("GET", "/api/v1/nothing")

    text = server.log.read_text()

    assert "request_answered" in text
    assert caller.user.access_token not in text
    assert "eyJ" not in text
