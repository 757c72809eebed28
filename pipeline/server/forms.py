"""Reads multipart forms part by part, each within its bound."""

from typing import Final

from aiohttp import BodyPartReader, web
from aiohttp.http_exceptions import HttpProcessingError
from pydantic import ValidationError

from pipeline.errors import Refused
from s3_sam3.contracts import limits
from s3_sam3.contracts.errors import ErrorCode
from s3_sam3.contracts.pipeline import IMAGE_PART, REQUEST_PART, PredictRequest


#: Pictures in one batch.
MAX_BATCH: Final = 16

#: Bytes of all pictures of one batch together.
MAX_BATCH_BYTES: Final = 4 * limits.MAX_UPLOAD_BYTES

#: Bytes of a request part: 16 prompts of 32 boxes need a hundredth of it.
_MAX_REQUEST_BYTES: Final = 1024 * 1024

_READ_BYTES: Final = 256 * 1024


async def read_one(request: web.Request) -> tuple[bytes, bytes]:
    """
    Read a form of one picture: its bytes, and its request as JSON.

    Raises:
        Refused: the form is not such a form, or a part is too large.

    """
    parts = await _read(request, {IMAGE_PART, REQUEST_PART}, limits.MAX_UPLOAD_BYTES)
    return _pair(parts, "")


async def read_batch(request: web.Request) -> list[tuple[bytes, bytes]]:
    """
    Read a form of several pictures: parts image0, request0, image1, request1, …

    Raises:
        Refused: as `read_one`; or numbers are left out.

    """
    numbers = range(MAX_BATCH)
    allowed = {f"{part}{number}" for part in (IMAGE_PART, REQUEST_PART) for number in numbers}
    parts = await _read(request, allowed, MAX_BATCH_BYTES)
    if not parts or len(parts) % 2:
        message = f"Send image0, request0, image1, request1, …: 1 to {MAX_BATCH} pairs."
        raise Refused(message)
    return [_pair(parts, str(number)) for number in range(len(parts) // 2)]


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


def _pair(parts: dict[str, bytes], number: str) -> tuple[bytes, bytes]:
    """Take one picture and its request out of the parts."""
    names = (f"{IMAGE_PART}{number}", f"{REQUEST_PART}{number}")
    for name in names:
        if name not in parts:
            message = f"The form lacks the part `{name}`."
            raise Refused(message)
    return parts[names[0]], parts[names[1]]


async def _read(request: web.Request, allowed: set[str], most_bytes: int) -> dict[str, bytes]:
    """Read all parts; each name once, and together at most *most_bytes* of pictures."""
    if request.content_type != "multipart/form-data":
        message = f"Send multipart/form-data with the parts {IMAGE_PART} and {REQUEST_PART}."
        raise Refused(message)
    parts: dict[str, bytes] = {}
    left = most_bytes
    try:
        async for part in await request.multipart():
            name = part.name if isinstance(part, BodyPartReader) else None
            if not isinstance(part, BodyPartReader) or name not in allowed or name in parts:
                message = f"The form has an unknown or repeated part: {name!r}."
                raise Refused(message)
            is_image = name.startswith(IMAGE_PART)
            most = min(left, limits.MAX_UPLOAD_BYTES) if is_image else _MAX_REQUEST_BYTES
            parts[name] = await _read_part(part, most)
            left -= len(parts[name]) if is_image else 0
    except (ValueError, AssertionError, HttpProcessingError) as error:
        message = f"The form is damaged: {error}."
        raise Refused(message) from error
    return parts


async def _read_part(part: BodyPartReader, most_bytes: int) -> bytes:
    """Read one part; stop as soon as it is too large."""
    content = bytearray()
    while chunk := await part.read_chunk(_READ_BYTES):
        content += chunk
        if len(content) > most_bytes:
            raise Refused(code=ErrorCode.FILE_TOO_LARGE)
    return bytes(content)
