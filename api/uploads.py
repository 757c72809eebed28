"""
`POST /api/v1/upload`: the body goes to a temporary file, is checked, and then stored.

The bytes are counted and hashed as they pass. The whole file is never in memory, and a sender that
passes the limit, or whose first bytes are no picture, is refused at that moment.
"""

import asyncio
import hashlib
import tempfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from http import HTTPStatus
from typing import IO, Final

from aiohttp import BodyPartReader, web

from api import answers, keys, source_picture
from api.problems import Problem
from api.route import BAD_BODY, Route
from s3_sam3.contracts import bodies, limits, object_keys
from s3_sam3.contracts.errors import ErrorCode
from s3_sam3.contracts.tasks import MediaKind
from s3_sam3.imaging import sniff


_CHUNK_BYTES: Final = 64 * 1024
_SECONDS: Final = 300.0
"""A sender that needs longer holds a connection and a file for nothing."""

_FORM_OVERHEAD_BYTES: Final = 64 * 1024
"""What boundaries and part headers may add to a declared length."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Received:
    """A file that has fully arrived."""

    file: IO[bytes]
    """On disk, gone when closed."""
    size: int
    """Bytes."""
    sha256: str


async def upload_image(request: web.Request) -> web.Response:
    """Store one picture; the same bytes get the same `image_url` every time."""
    app = request.app
    who = request[keys.PRINCIPAL]
    async with receive(request, limits.MAX_UPLOAD_BYTES) as received:
        picture = await app[keys.UPLOAD_CHECKS].check(received.file)
        key = object_keys.upload_key(who.user_id, received.sha256, picture.format)
        received.file.seek(0)
        size = source_picture.size_metadata(picture.width, picture.height)
        await app[keys.OBJECTS].put(key, received.file, picture.content_type, size)
    app[keys.METRICS].uploaded_bytes.inc(received.size)
    upload = bodies.Upload(
        image_url=key,
        kind=MediaKind.IMAGE,
        content_type=picture.content_type,
        width=picture.width,
        height=picture.height,
        bytes=received.size,
        sha256=received.sha256,
    )
    return answers.ok(request, upload, status=HTTPStatus.CREATED)


@asynccontextmanager
async def receive(request: web.Request, max_bytes: int) -> AsyncIterator[Received]:
    """
    Take the body of *request*, or the one file of its form, into a temporary file.

    Raises: Problem with EMPTY_BODY, FILE_TOO_LARGE, UNSUPPORTED_MEDIA_TYPE or INVALID_REQUEST.
    """
    declared = request.content_length or 0
    if declared > max_bytes + _FORM_OVERHEAD_BYTES:
        raise _too_large(max_bytes)
    with tempfile.TemporaryFile() as file:
        try:
            async with asyncio.timeout(_SECONDS):
                received = await _drain(_body(request), file, max_bytes)
        except TimeoutError:
            raise Problem(ErrorCode.INVALID_REQUEST, {"reason": "the body is too slow"}) from None
        yield received


async def _drain(chunks: AsyncIterator[bytes], file: IO[bytes], max_bytes: int) -> Received:
    digest = hashlib.sha256()
    size = 0
    head = b""
    async for chunk in chunks:
        size += len(chunk)
        if size > max_bytes:
            raise _too_large(max_bytes)
        if len(head) < sniff.HEAD_BYTES:
            head += chunk[: sniff.HEAD_BYTES - len(head)]
            if len(head) == sniff.HEAD_BYTES:
                _must_look_like_picture(head)
        digest.update(chunk)
        file.write(chunk)
    if size == 0:
        raise Problem(ErrorCode.EMPTY_BODY)
    _must_look_like_picture(head)
    return Received(file=file, size=size, sha256=digest.hexdigest())


async def _body(request: web.Request) -> AsyncIterator[bytes]:
    try:
        if request.content_type.startswith("multipart/"):
            async for chunk in _form_file(request):
                yield chunk
        else:
            async for chunk in request.content.iter_chunked(_CHUNK_BYTES):
                yield chunk
    except (ValueError, AssertionError, KeyError):
        # What aiohttp's form reader raises for a form that is none.
        raise Problem(ErrorCode.INVALID_REQUEST, {"reason": "the form is malformed"}) from None


async def _form_file(request: web.Request) -> AsyncIterator[bytes]:
    """The bytes of the form's one file; other fields are skipped, a second file is refused."""
    seen = False
    form = await request.multipart()
    while (part := await form.next()) is not None:
        if not isinstance(part, BodyPartReader) or part.filename is None:
            continue
        if seen:
            raise Problem(ErrorCode.INVALID_REQUEST, {"reason": "send one file per request"})
        seen = True
        while chunk := await part.read_chunk(_CHUNK_BYTES):
            yield chunk


def _must_look_like_picture(head: bytes) -> None:
    if sniff.kind(head) is None:
        raise Problem(ErrorCode.UNSUPPORTED_MEDIA_TYPE)


def _too_large(max_bytes: int) -> Problem:
    return Problem(ErrorCode.FILE_TOO_LARGE, {"max_bytes": max_bytes})


ROUTES: Final = (
    Route(
        "POST",
        "/api/v1/upload",
        upload_image,
        bodies.Upload,
        status=HTTPStatus.CREATED,
        errors=(
            *BAD_BODY,
            ErrorCode.UNSUPPORTED_MEDIA_TYPE,
            ErrorCode.IMAGE_TOO_LARGE,
            ErrorCode.INVALID_IMAGE,
        ),
    ),
)
