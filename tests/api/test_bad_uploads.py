"""Bad files, as a table: what is sent, and the code that must come back."""

import struct
import zlib
from collections.abc import Callable
from typing import Any

import pytest


def png_bomb(side: int) -> bytes:
    """A PNG of side x side pixels in a few hundred bytes: only its header is large."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return (
            struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
        )

    header = struct.pack(">IIBBBBB", side, side, 8, 2, 0, 0, 0)
    body = zlib.compress(b"\0" * 1000)
    return (
        b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", body) + chunk(b"IEND", b"")
    )


def form(data: bytes, name: str = "photo.png") -> tuple[bytes, str]:
    """A form with one file, and its content type."""
    head = f'--b\r\nContent-Disposition: form-data; name="file"; filename="{name}"\r\n\r\n'
    return head.encode() + data + b"\r\n--b--\r\n", "multipart/form-data; boundary=b"


UPLOADS = {
    "an empty body": (lambda draw: b"", "empty_body"),
    "a text file": (lambda draw: b"I am no picture at all, sir.", "unsupported_media_type"),
    "three bytes": (lambda draw: b"\x89PN", "unsupported_media_type"),
    "a GIF": (lambda draw: draw("GIF"), "unsupported_media_type"),
    "half a JPEG": (lambda draw: half(draw("JPEG", size=(640, 480))), "invalid_image"),
    "half a PNG": (lambda draw: half(draw("PNG", size=(640, 480))), "invalid_image"),
    "half a WebP": (lambda draw: half(draw("WEBP", size=(640, 480))), "invalid_image"),
    "a JPEG's first bytes and then noise": (
        lambda draw: b"\xff\xd8\xff" + bytes(range(256)) * 8,
        "invalid_image",
    ),
    "a bomb of 60000 x 60000 pixels": (lambda draw: png_bomb(60_000), "image_too_large"),
    "a bomb of 7100 x 7100 pixels, just over the limit": (
        lambda draw: png_bomb(7_100),
        "image_too_large",
    ),
}


def half(data: bytes) -> bytes:
    """The first half."""
    return data[: len(data) // 2]


@pytest.mark.parametrize("what", UPLOADS)
@pytest.mark.parametrize("as_form", [False, True], ids=["raw", "form"])
async def test_what_is_no_sound_picture_is_refused(
    caller: Any, draw: Callable[..., bytes], what: str, *, as_form: bool
) -> None:
    """Each bad file gets its code, as a raw body and in a form with a false name."""
    make, code = UPLOADS[what]
    body, content_type = form(make(draw)) if as_form else (make(draw), "image/png")

    reply = await caller.ask(
        "POST", "/api/v1/upload", data=body, headers={"Content-Type": content_type}
    )

    assert reply.code == code


FORMS = {
    "no file in the form": b'--b\r\nContent-Disposition: form-data; name="a"\r\n\r\nx\r\n--b--\r\n',
    "no part at all": b"--b--\r\n",
}


@pytest.mark.parametrize("what", FORMS)
async def test_a_form_without_a_file_is_an_empty_body(caller: Any, what: str) -> None:
    """Only a file's bytes count."""
    headers = {"Content-Type": "multipart/form-data; boundary=b"}

    reply = await caller.ask("POST", "/api/v1/upload", data=FORMS[what], headers=headers)

    assert reply.code == "empty_body"


async def test_a_second_file_is_refused(caller: Any, draw: Callable[..., bytes]) -> None:
    """One request, one picture."""
    one, content_type = form(draw())
    both = one.removesuffix(b"--b--\r\n") + one

    reply = await caller.ask(
        "POST", "/api/v1/upload", data=both, headers={"Content-Type": content_type}
    )

    assert reply.code == "invalid_request"


@pytest.mark.parametrize("content_type", ["multipart/form-data", "multipart/form-data; boundary=x"])
async def test_a_form_that_is_none_is_refused(caller: Any, content_type: str) -> None:
    """A body that does not fit its own content type is the sender's fault."""
    reply = await caller.ask(
        "POST", "/api/v1/upload", data=b"not a form", headers={"Content-Type": content_type}
    )

    assert reply.code in {"invalid_request", "empty_body"}
