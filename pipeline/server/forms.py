"""The form of a predict request, read part by part within bounds; and the form that answers it."""

from io import BytesIO
from typing import Final

from aiohttp import BodyPartReader, MultipartWriter, web
from aiohttp.http_exceptions import HttpProcessingError
from pydantic import ValidationError

from pipeline.errors import Refused
from s3_sam3.contracts import limits
from s3_sam3.contracts.errors import ErrorCode
from s3_sam3.contracts.pipeline import (
    ANSWER_TYPES,
    IMAGE_PART,
    MANIFEST_PART,
    MASK_PART,
    OVERLAY_PART,
    REQUEST_PART,
    PredictRequest,
)


#: Most bytes of each part. 16 prompts of 32 boxes need a hundredth of what a request may have.
_MOST_BYTES: Final = {IMAGE_PART: limits.MAX_UPLOAD_BYTES, REQUEST_PART: 1024 * 1024}

_READ_BYTES: Final = 256 * 1024


async def read(request: web.Request) -> tuple[bytes, bytes]:
    """
    Read the picture's bytes and its request as JSON.

    Raises:
        Refused: the form is not such a form, or a part is too large.

    """
    if request.content_type != "multipart/form-data":
        message = f"Send multipart/form-data with the parts {IMAGE_PART} and {REQUEST_PART}."
        raise Refused(message)
    parts: dict[str, bytes] = {}
    try:
        async for part in await request.multipart():
            name = part.name if isinstance(part, BodyPartReader) else None
            if not isinstance(part, BodyPartReader) or name not in _MOST_BYTES or name in parts:
                message = f"The form has an unknown or repeated part: {name!r}."
                raise Refused(message)
            parts[name] = await _read_part(part, _MOST_BYTES[name])
    except (ValueError, AssertionError, HttpProcessingError) as error:
        message = f"The form is damaged: {error}."
        raise Refused(message) from error
    for name in _MOST_BYTES.keys() - parts.keys():
        message = f"The form lacks the part `{name}`."
        raise Refused(message)
    return parts[IMAGE_PART], parts[REQUEST_PART]


def parse(body: bytes) -> PredictRequest:
    """
    Read the JSON of a request part.

    Raises:
        Refused: invalid_request, naming the first field at fault.

    """
    try:
        return PredictRequest.model_validate_json(body)
    except ValidationError as error:
        first = error.errors()[0]
        place = ".".join(str(step) for step in first["loc"])
        message = f"The part `{REQUEST_PART}` does not fit: {place or 'body'}: {first['msg']}."
        raise Refused(message) from None


async def _read_part(part: BodyPartReader, most_bytes: int) -> bytes:
    """Read one part; stop as soon as it is too large."""
    content = bytearray()
    while chunk := await part.read_chunk(_READ_BYTES):
        content += chunk
        if len(content) > most_bytes:
            raise Refused(code=ErrorCode.FILE_TOO_LARGE)
    return bytes(content)


def answer(manifest: bytes, *, mask_png: bytes = b"", overlay_webp: bytes = b"") -> web.Response:
    """Answer with a manifest as JSON and what was drawn, if anything was."""
    parts = {MANIFEST_PART: manifest, MASK_PART: mask_png, OVERLAY_PART: overlay_webp}
    form = MultipartWriter("form-data")
    for name, content in parts.items():
        if content:
            # As a file: aiohttp would write large bytes in one piece, which blocks the loop.
            part = form.append(BytesIO(content), {"Content-Type": ANSWER_TYPES[name]})
            part.set_content_disposition("form-data", name=name)
    return web.Response(body=form)
