"""Uploads: what is stored, what is answered, and what they cost the server."""

import asyncio
import hashlib
import os
import zlib
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any

import aiohttp
import boto3
import pytest
from botocore.config import Config

from devstack import testing
from s3_sam3.contracts import limits


Draw = Callable[..., bytes]


@pytest.fixture
def bucket(stack: testing.Stack) -> Callable[[str], tuple[bytes, str]]:
    """Read an object as an operator would: bytes and content type."""
    client = boto3.session.Session().client(
        "s3",
        endpoint_url=stack.r2_endpoint,
        aws_access_key_id=stack.r2_access_key_id,
        aws_secret_access_key=stack.r2_secret_access_key,
        region_name="auto",
        config=Config(s3={"addressing_style": "path"}),
    )

    def read(key: str) -> tuple[bytes, str]:
        answer = client.get_object(Bucket=stack.r2_bucket, Key=key)
        return answer["Body"].read(), answer["ContentType"]

    return read


FORMATS = {"PNG": "png", "JPEG": "jpeg", "WEBP": "webp"}


@pytest.mark.parametrize("format_name", FORMATS)
async def test_the_very_bytes_are_kept(
    caller: Any, draw: Draw, bucket: Callable[[str], tuple[bytes, str]], format_name: str
) -> None:
    """The bytes are stored under their hash, with the type that they have, whatever was claimed."""
    data = draw(format_name)

    reply = await caller.ask(
        "POST", "/api/v1/upload", data=data, headers={"Content-Type": "text/plain"}
    )

    digest = hashlib.sha256(data).hexdigest()
    kind = FORMATS[format_name]
    assert reply.status == 201
    assert reply.data == {
        "image_url": f"uploads/{caller.user.id}/{digest}.{kind}",
        "kind": "image",
        "content_type": f"image/{kind}",
        "width": 64,
        "height": 48,
        "bytes": len(data),
        "sha256": digest,
    }
    assert bucket(reply.data["image_url"]) == (data, f"image/{kind}")


async def test_a_form_is_as_good_as_a_raw_body(caller: Any, draw: Draw) -> None:
    """The same bytes get the same image_url, sent either way, twice."""
    form = aiohttp.FormData()
    form.add_field("note", "other fields are skipped")
    form.add_field("file", draw(), filename="../../etc/passwd.txt")

    in_form = await caller.ask("POST", "/api/v1/upload", data=form)

    assert in_form.data["image_url"] == await caller.upload(draw()) == await caller.upload(draw())


async def test_two_users_never_share_an_object(
    new_caller: Callable[[], Awaitable[Any]], draw: Draw
) -> None:
    """The same picture of two users is stored twice."""
    assert await (await new_caller()).upload(draw()) != await (await new_caller()).upload(draw())


@pytest.mark.parametrize("orientation", [1, 3, 6, 8])
async def test_width_and_height_are_upright(caller: Any, draw: Draw, orientation: int) -> None:
    """A quarter turn in EXIF swaps the sides."""
    from PIL import Image

    exif = Image.Exif()
    exif[0x0112] = orientation

    reply = await caller.ask("POST", "/api/v1/upload", data=draw("JPEG", exif=exif))

    turned = orientation in {6, 8}
    assert (reply.data["width"], reply.data["height"]) == ((48, 64) if turned else (64, 48))


async def test_a_phones_picture_with_a_preview_is_a_jpeg(caller: Any, draw: Draw) -> None:
    """MPO, as many phones write it, is taken as the JPEG it begins with."""
    import io

    from PIL import Image

    main, preview = Image.new("RGB", (64, 48)), Image.new("RGB", (16, 12))
    buffer = io.BytesIO()
    main.save(buffer, "MPO", save_all=True, append_images=[preview])

    reply = await caller.ask("POST", "/api/v1/upload", data=buffer.getvalue())

    assert (reply.data["content_type"], reply.data["width"]) == ("image/jpeg", 64)


async def test_of_moving_pictures_the_first_frame_counts(caller: Any) -> None:
    """An animation is taken as its first frame."""
    import io

    from PIL import Image

    frames = [Image.new("RGB", (64, 48), colour) for colour in ("red", "blue")]
    buffer = io.BytesIO()
    frames[0].save(buffer, "WEBP", save_all=True, append_images=frames[1:])

    reply = await caller.ask("POST", "/api/v1/upload", data=buffer.getvalue())

    assert (reply.data["content_type"], reply.data["width"]) == ("image/webp", 64)


async def test_the_limit_holds_while_streaming(
    start: Callable[..., Any], caller: Any, draw: Draw
) -> None:
    """A sender without a declared length is cut off at the limit, long before its end."""
    server = start()
    sent = 0

    async def endless() -> AsyncIterator[bytes]:
        nonlocal sent
        yield draw()
        for _ in range(2000):
            sent += 500_000
            yield b"\0" * 500_000

    headers = {"Authorization": f"Bearer {caller.user.access_token}"}
    async with (
        aiohttp.ClientSession(base_url=server.url, headers=headers) as http,
        http.post("/api/v1/upload", data=endless()) as it,
    ):
        envelope = await it.json()

    assert (it.status, envelope["error"]["code"]) == (413, "file_too_large")
    assert envelope["error"]["details"] == {"max_bytes": limits.MAX_UPLOAD_BYTES}
    assert sent < 2 * limits.MAX_UPLOAD_BYTES


async def test_a_declared_length_over_the_limit_is_refused_unread(
    start: Callable[..., Any], caller: Any
) -> None:
    """The answer comes before the body is sent."""
    server = start()
    host, port = server.url.removeprefix("http://").split(":")
    reader, writer = await asyncio.open_connection(host, int(port))
    writer.write(
        f"POST /api/v1/upload HTTP/1.1\r\nHost: x\r\nContent-Length: 999999999\r\n"
        f"Authorization: Bearer {caller.user.access_token}\r\n\r\n".encode()
    )

    head = await asyncio.wait_for(reader.readline(), 5)

    assert b" 413 " in head
    writer.close()


async def test_who_hangs_up_leaves_nothing_and_no_alarm(
    start: Callable[..., Any], caller: Any, eventually: Callable[..., Awaitable[None]]
) -> None:
    """A body that breaks off is the sender's fault: it is logged as such, not as ours."""
    server = start()
    host, port = server.url.removeprefix("http://").split(":")
    _, writer = await asyncio.open_connection(host, int(port))
    writer.write(
        f"POST /api/v1/upload HTTP/1.1\r\nHost: x\r\nContent-Length: 5000\r\n"
        f"Authorization: Bearer {caller.user.access_token}\r\n\r\n".encode()
        + b"\x89PNG\r\n\x1a\n0000"
    )
    await writer.drain()
    writer.close()

    def answered() -> bool:
        return any(line["event"] == "request_answered" for line in server.lines())

    await eventually(answered)
    assert [line for line in server.lines() if line["event"] == "request_failed"] == []


BROKEN = {
    "gzip that is none": b"Content-Encoding: gzip\r\nContent-Length: 20\r\n\r\n" + b"x" * 20,
    "chunks that are none": b"Transfer-Encoding: chunked\r\n\r\nzz\r\nhello\r\n",
}


@pytest.mark.parametrize("what", BROKEN)
async def test_a_malformed_transfer_is_a_bad_request(server: Any, caller: Any, what: str) -> None:
    """What cannot be decoded is the sender's fault."""
    host, port = server.url.removeprefix("http://").split(":")
    reader, writer = await asyncio.open_connection(host, int(port))
    authorization = f"Authorization: Bearer {caller.user.access_token}\r\n"
    head = f"POST /api/v1/upload HTTP/1.1\r\nHost: x\r\n{authorization}"
    writer.write(head.encode() + BROKEN[what])

    status = await asyncio.wait_for(reader.readline(), 5)

    assert b" 400 " in status
    writer.close()


def peak_kilobytes(pid: int) -> int:
    """The most memory a process has had so far."""
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith("VmHWM:"):
            return int(line.split()[1])
    raise AssertionError


def noise_png(side: int) -> bytes:
    """A sound PNG of random pixels: about three bytes a pixel, since noise does not compress."""
    import struct

    def chunk(kind: bytes, data: bytes) -> bytes:
        check = struct.pack(">I", zlib.crc32(kind + data))
        return struct.pack(">I", len(data)) + kind + data + check

    rows = b"".join(b"\0" + os.urandom(side * 3) for _ in range(side))
    header = struct.pack(">IIBBBBB", side, side, 8, 2, 0, 0, 0)
    body = chunk(b"IDAT", zlib.compress(rows, 0)) + chunk(b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + body


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="reads /proc")
async def test_a_large_upload_is_never_in_memory(
    start: Callable[..., Any], caller: Any, draw: Draw
) -> None:
    """A picture of 40 MB passes through, and the server's peak grows by a fraction of it."""
    server = start()
    headers = {"Authorization": f"Bearer {caller.user.access_token}"}
    large = noise_png(3_650)
    assert len(large) > 39_000_000
    async with aiohttp.ClientSession(base_url=server.url, headers=headers) as http:
        # One small upload first, so that what is loaded once does not count.
        async with http.post("/api/v1/upload", data=draw()) as answer:
            assert answer.status == 201
        before = peak_kilobytes(server.process.pid)
        async with http.post("/api/v1/upload", data=large) as answer:
            assert answer.status == 201, await answer.text()

    assert peak_kilobytes(server.process.pid) - before < 12_000
