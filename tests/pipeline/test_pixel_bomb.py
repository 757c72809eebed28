"""A header that claims too many pixels is refused as such, before a pixel is decoded."""

import struct
import tracemalloc
import zlib

import pytest

from pipeline.decode.child import decode
from pipeline.errors import Refused
from s3_sam3.contracts.errors import ErrorCode


def _chunk(kind: bytes, body: bytes) -> bytes:
    """One chunk of a PNG."""
    return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))


def png(width: int, height: int) -> bytes:
    """A PNG with a header and nearly no data."""
    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    data = _chunk(b"IHDR", header) + _chunk(b"IDAT", zlib.compress(b"\0"))
    return b"\x89PNG\r\n\x1a\n" + data + _chunk(b"IEND", b"")


def jpeg(width: int, height: int) -> bytes:
    """A JPEG that ends after its frame header and the beginning of a scan."""
    frame = struct.pack(">HBHHB", 17, 8, height, width, 3) + b"\x01\x11\x00\x02\x11\x01\x03\x11\x01"
    scan = b"\x00\x0c\x03\x01\x00\x02\x11\x03\x11\x00\x3f\x00"
    return b"\xff\xd8\xff\xc0" + frame + b"\xff\xda" + scan


def webp(width: int, height: int) -> bytes:
    """A WebP of which there is only the canvas's size."""
    size = (width - 1).to_bytes(3, "little") + (height - 1).to_bytes(3, "little")
    body = b"WEBPVP8X" + struct.pack("<I", 10) + b"\0\0\0\0" + size
    return b"RIFF" + struct.pack("<I", len(body)) + body


BOMBS = {
    # Between our limit and Pillow's warning, and over the limit at which Pillow itself raises.
    "png over ours": png(8000, 7000),
    "png over Pillow's": png(100_000, 100_000),
    "png of the largest size": png(2**31 - 1, 2**31 - 1),
    "jpeg": jpeg(65_500, 65_500),
    "webp": webp(16_384, 16_384),
}


@pytest.mark.parametrize("bomb", BOMBS.values(), ids=BOMBS.keys())
def test_a_bomb_is_too_large_not_damaged(bomb: bytes) -> None:
    """Our limit or Pillow's: the refusal tells the user that the picture is too large."""
    tracemalloc.start()
    try:
        with pytest.raises(Refused) as caught:
            decode(bomb)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert caught.value.code is ErrorCode.IMAGE_TOO_LARGE
    assert peak < 2_000_000  # bytes; decoded it would be 168 million at least


def test_the_same_headers_of_a_small_size_are_damaged() -> None:
    """Negative control: it is the size that is refused, not the missing data."""
    for small in (png(80, 70), jpeg(65, 65), webp(16, 16)):
        with pytest.raises(Refused) as caught:
            decode(small)
        assert caught.value.code is ErrorCode.INVALID_IMAGE
