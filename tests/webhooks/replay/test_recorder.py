"""`s3 record`: written down first, forwarded unchanged."""

import asyncio
import re
from collections.abc import Awaitable, Callable
from pathlib import Path

import aiohttp
from failing_receiver import Receiver, Start
from yarl import URL

from listener.webhooks import SHARED_SECRET_HEADER
from s3_sam3 import recordings
from s3_sam3.messages import DeliveryState


async def recorder(start: Start, forward: str, out: Path) -> str:
    """A running recorder's address."""
    process = await start(
        "record", "--listen", "127.0.0.1:0", "--forward", forward, "--out", str(out)
    )
    assert process.stderr is not None
    said = (await asyncio.wait_for(process.stderr.readline(), 30)).decode()
    found = re.search(r"http://[\d.:]+", said)
    assert found is not None, said
    return found[0]


async def test_bytes_go_on_unchanged_and_secrets_are_only_passed_on(
    start: Start, receiver: Receiver, tmp_path: Path
) -> None:
    """The receiver gets what was sent, secrets included; the file has them redacted."""
    out = tmp_path / "out.ndjson"
    body = b'{ "type":"task.done", "data":{"task_id":"\xc3\xa9"} }\n'
    sent = {
        "Authorization": "Bearer s3cr3t",
        SHARED_SECRET_HEADER: "s3cr3t",
        "X-Gitlab-Token": "s3cr3t",
        "webhook-id": "msg_7",
        "X-Odd": "a  b",
    }
    address = await recorder(start, f"{receiver.url}?token=s3cr3t&a=b", out)

    async with aiohttp.ClientSession() as http:
        answer = await http.post(address, data=body, headers=sent)
        text = await answer.text()

    headers, got = receiver.requests[0]
    assert got == body
    assert sent.items() <= headers.items()
    assert (answer.status, text) == (401, '{"error": "MissingHeader"}')
    (found,) = recordings.read(out)
    assert (found.id, found.type, found.key, found.body) == ("msg_7", "task.done", "é", body)
    assert found.last is not None
    assert (found.last.status, found.last.answer) == (401, text.encode())
    assert "s3cr3t" not in out.read_text()
    assert found.url == f"{receiver.url}?token=[redacted]&a=b"


async def test_a_request_is_written_down_before_it_is_forwarded(
    start: Start,
    receiver: Receiver,
    tmp_path: Path,
    eventually: Callable[..., Awaitable[None]],
) -> None:
    """Before the receiver has answered, the file has the request."""
    out = tmp_path / "out.ndjson"
    receiver.gate = asyncio.Event()
    address = await recorder(start, receiver.url, out)

    async with aiohttp.ClientSession() as http:
        asking = asyncio.create_task(http.post(address, data=b"{}"))
        await eventually(lambda: bool(receiver.requests), 20)
        (found,) = recordings.read(out)
        receiver.gate.set()
        await asking

    assert found.state is DeliveryState.MISSING


async def test_nobody_at_the_other_end_is_502_and_a_record(start: Start, tmp_path: Path) -> None:
    """The sender may come again, and the request is not lost."""
    out = tmp_path / "out.ndjson"
    address = await recorder(start, "http://127.0.0.1:9/hook", out)

    async with aiohttp.ClientSession() as http:
        answer = await http.post(address, data=b"{}")

    (found,) = recordings.read(out)
    assert answer.status == 502
    assert found.state is DeliveryState.FAILED


async def test_a_forward_url_without_a_path_takes_the_requests(
    start: Start, receiver: Receiver, tmp_path: Path
) -> None:
    """Path and query go on as they came."""
    out = tmp_path / "out.ndjson"
    address = await recorder(start, receiver.url.removesuffix("/hook"), out)

    async with aiohttp.ClientSession() as http:
        await http.post(URL(f"{address}/a%20b?x=1%2F2", encoded=True), data=b"{}")

    (found,) = recordings.read(out)
    assert found.url == receiver.url.removesuffix("/hook") + "/a%20b?x=1%2F2"
