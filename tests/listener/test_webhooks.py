"""The webhook server: who is believed, what it answers, and what wakes the listener."""

import asyncio
import gzip
import json
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from aiohttp.test_utils import TestClient, TestServer
from webhook_server import INSERT, OTHER, SECRET, SHARED, OpenServer, opened

from listener import webhooks
from listener.wake import Wake
from listener.webhooks import MAX_BODY_BYTES, PATH, Secrets, WebhookServer
from runtime.settings import SettingsError
from s3_sam3 import signatures


VECTORS: list[dict[str, Any]] = json.loads(
    (Path(__file__).parents[1] / "vectors/webhook_signatures.json").read_text()
)["vectors"]


@pytest.fixture
async def server() -> AsyncIterator[OpenServer]:
    """A server that knows one signing and the shared secret."""
    async with opened(SECRET, shared=SHARED) as one:
        yield one


async def test_a_signed_insert_wakes(server: OpenServer) -> None:
    """A signed webhook about a pending task is taken and wakes the listener."""
    assert await server.post_signed(INSERT) == 204
    assert await server.woken()


@pytest.mark.parametrize("vector", VECTORS, ids=lambda vector: vector["name"])
async def test_the_shared_vectors_over_http(vector: dict[str, Any]) -> None:
    """Each vector is taken or refused over HTTP as it says; taken and no change is 400."""
    async with opened(*vector["secrets"], now=lambda: vector["now"]) as server:
        status = await server.post(vector["body"].encode(), vector["headers"])
        is_change = vector["body"].startswith('{"type": "INSERT"')

        assert status == (401 if vector["error"] else 204 if is_change else 400)
        assert await server.woken() is (status == 204)


async def test_a_native_webhook_with_the_shared_secret_wakes(server: OpenServer) -> None:
    """Supabase's own body is taken with the shared secret, whatever else it says."""
    body = {**INSERT, "user_id": "somebody", "of_tomorrow": {}}

    assert await server.post(body, {"x-webhook-secret": SHARED}) == 204
    assert await server.woken()


@pytest.mark.parametrize("headers", [{}, {"x-webhook-secret": ""}, {"x-webhook-secret": "guess"}])
async def test_nobody_else_wakes(server: OpenServer, headers: dict[str, str]) -> None:
    """Without proof nothing is taken."""
    assert await server.post(INSERT, headers) == 401
    assert not await server.woken()


async def test_an_unset_shared_secret_admits_nobody() -> None:
    """A listener without a shared secret does not accept an empty one."""
    async with opened(SECRET) as server:
        assert await server.post(INSERT, {"x-webhook-secret": ""}) == 401


async def test_a_wrong_signature_is_not_saved_by_the_shared_secret(server: OpenServer) -> None:
    """A webhook that has a signature is judged by it alone."""
    body = json.dumps(INSERT).encode()
    headers = signatures.signed_headers([OTHER], "msg_one", int(time.time()), body)

    assert await server.post(body, {**headers, "x-webhook-secret": SHARED}) == 401


async def test_an_old_webhook_is_refused(server: OpenServer) -> None:
    """A recorded webhook cannot be sent again later."""
    assert await server.post_signed(INSERT, age=301) == 401
    assert await server.post_signed(INSERT, age=290) == 204


@pytest.mark.parametrize("body", [b"", b"no json", b"[]", b"{}", b'{"type": "INSERT"}', b"\xff"])
async def test_a_proven_body_that_is_no_change_is_a_bad_request(
    server: OpenServer, body: bytes
) -> None:
    """A signed body of another form is 400 and wakes nobody."""
    assert await server.post_signed(body) == 400
    assert not await server.woken()


async def test_a_long_body_is_refused(server: OpenServer) -> None:
    """One byte over the limit is 413, a body of the limit is read."""
    head = json.dumps(INSERT).encode()
    fitting = head + b" " * (MAX_BODY_BYTES - len(head))

    assert await server.post_signed(fitting) == 204
    assert await server.post_signed(fitting + b" ", webhook_id="msg_two") == 413


async def test_a_long_body_of_unknown_length_is_refused(server: OpenServer) -> None:
    """A body in chunks is counted as it comes."""

    async def chunks() -> AsyncIterator[bytes]:
        for _ in range(100):
            yield b" " * 1024

    url = f"http://127.0.0.1:{server.server.port}{PATH}"
    async with server.http.post(url, data=chunks()) as answer:
        assert answer.status == 413


async def test_the_bytes_on_the_wire_are_what_is_signed(server: OpenServer) -> None:
    """Of a compressed body a signature of its own bytes is taken, one of its content is not."""
    plain = json.dumps(INSERT).encode()
    sent, now = gzip.compress(plain), int(time.time())
    encoded = {"Content-Encoding": "gzip"}
    of_content = signatures.signed_headers([SECRET], "msg_one", now, plain)
    of_bytes = signatures.signed_headers([SECRET], "msg_two", now, sent)

    assert await server.post(sent, {**encoded, **of_content}) == 401
    # Proven, and then no JSON: nobody who sends Database Webhooks compresses them.
    assert await server.post(sent, {**encoded, **of_bytes}) == 400
    assert not await server.woken()


async def test_a_decompressing_server_would_take_what_was_not_signed() -> None:
    """Negative control: aiohttp's own way makes other bytes of it before anybody can look."""
    plain = json.dumps(INSERT).encode()
    headers = signatures.signed_headers([SECRET], "msg_one", int(time.time()), plain)
    wake = Wake()
    app = WebhookServer(wake, Secrets(signing=(SECRET,))).application()
    async with TestClient(TestServer(app)) as http:
        answer = await http.post(
            PATH, data=gzip.compress(plain), headers={"Content-Encoding": "gzip", **headers}
        )

    assert answer.status == 204


async def test_a_body_that_never_comes_is_not_waited_for(
    server: OpenServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A sender that announces a body and sends none is answered 400."""
    monkeypatch.setattr(webhooks, "_BODY_SECONDS", 0.1)
    reader, writer = await asyncio.open_connection("127.0.0.1", server.server.port)
    writer.write(f"POST {PATH} HTTP/1.1\r\nHost: x\r\nContent-Length: 9\r\n\r\n".encode())

    async with asyncio.timeout(3):
        assert b" 400 " in await reader.readline()
    writer.close()


@pytest.mark.parametrize(
    "other",
    [
        {"table": "projects"},
        {"schema": "private"},
        {"type": "DELETE", "record": None},
        {"type": "UPDATE", "record": {"status": "running"}},
        {"type": "UPDATE", "record": {"status": "done"}},
    ],
)
async def test_what_is_no_news_wakes_nobody(server: OpenServer, other: dict[str, Any]) -> None:
    """Other tables, and tasks that are not pending, are answered 204 and ignored."""
    assert await server.post_signed({**INSERT, **other}) == 204
    assert not await server.woken()


async def test_a_task_that_returns_is_news(server: OpenServer) -> None:
    """An update to pending wakes as an insert does."""
    assert await server.post_signed({**INSERT, "type": "UPDATE"}) == 204
    assert await server.woken()


async def test_a_repeated_webhook_wakes_again(server: OpenServer) -> None:
    """The same id twice is two looks, which is harmless; nothing remembers ids."""
    for _ in range(2):
        assert await server.post_signed(INSERT) == 204
        assert await server.woken()


async def test_one_message_wakes_every_listener() -> None:
    """It goes out under one id, signed for each listener; each of them looks."""
    async with opened(SECRET) as one, opened(OTHER) as other:
        await one.post_signed(INSERT)
        await other.post_signed(INSERT, secret=OTHER)

        assert await one.woken()
        assert await other.woken()


async def test_only_posts_are_taken(server: OpenServer) -> None:
    """Another method or path is refused."""
    async with server.http.get(f"http://127.0.0.1:{server.server.port}{PATH}") as answer:
        assert answer.status == 405
    async with server.http.post(f"http://127.0.0.1:{server.server.port}/") as answer:
        assert answer.status == 404


async def test_a_taken_port_is_a_fault_of_the_settings(server: OpenServer) -> None:
    """Two listeners on one port: the second says which variable is wrong."""
    assert server.server.port is not None
    second = WebhookServer(Wake(), Secrets(signing=(SECRET,)))

    with pytest.raises(SettingsError, match="LISTENER_WEBHOOK_PORT"):
        await second.open(server.server.port)
