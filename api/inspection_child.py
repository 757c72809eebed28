"""
The child process that reads an untrusted picture: `python -m api.inspection_child PIXELS`.

Its standard input is a socket over which it gets the picture's descriptor; JSON is its answer.
Whatever a hostile file does to the decoder, it does here: in a process with a bound on memory and
CPU time, no secret in its environment, no way to anybody else's (`sandbox.confinement`), and
nothing else to do. It imports nothing of the API, so it starts in 0.1 s.
"""

import json
import os
import resource
import socket
import struct
import sys
import zlib
from collections.abc import Callable
from typing import IO, Any, Final

from PIL import (
    Image,
    JpegImagePlugin,
    PngImagePlugin,
    TiffImagePlugin,  # noqa: F401 - EXIF wants it, and by then nothing can be imported
    WebPImagePlugin,
)

from s3_sam3.contracts import limits
from sandbox.confinement import confine


_MEMORY_BYTES: Final = 2 * 1024**3
"""WebP at the pixel limit needs three canvases of 200 MB."""

_CPU_SECONDS: Final = 20
_HEAD_BYTES: Final = 30
_ORIENTATION: Final = 0x0112
_QUARTER_TURNS: Final = frozenset({5, 6, 7, 8})
"""EXIF orientations that swap width and height."""

_DRAFT_PIXELS: Final = (256, 256)
"""JPEG is decoded at the nearest smaller scale: all its bytes are read, few pixels are kept."""

_DAMAGED: Final = (
    OSError,
    SyntaxError,
    ValueError,
    TypeError,
    IndexError,
    KeyError,
    EOFError,
    OverflowError,
    MemoryError,
    struct.error,
    zlib.error,
)
"""What Pillow raises for broken files of one kind or another."""

_READERS: Final[dict[str, Callable[[IO[bytes]], Image.Image]]] = {
    "jpeg": JpegImagePlugin.JpegImageFile,
    "png": PngImagePlugin.PngImageFile,
    "webp": WebPImagePlugin.WebPImageFile,
}
"""The classes themselves: `Image.open` would read a phone's JPEG with a preview as an animation."""


def inspect(file: IO[bytes], max_pixels: int) -> dict[str, Any]:
    """
    Answer format and upright size, or `{"error": code}`.

    The pixel bound is checked on the header, before anything is decoded; then the whole picture
    is decoded once, because only that shows that it is complete. Of an animation that is the first
    frame, the one that will be segmented.
    """
    # Our own bound is checked below; Pillow's would only warn in the range that matters.
    Image.MAX_IMAGE_PIXELS = None
    head = file.read(_HEAD_BYTES)
    kind = _kind(head)
    if kind is None:
        return {"error": "unsupported_media_type"}
    file.seek(0)
    try:
        if kind == "webp" and (refusal := _refusal(*_webp_size(head), max_pixels)):
            return refusal
        picture = _READERS[kind](file)
        width, height = picture.size
        if refusal := _refusal(width, height, max_pixels):
            return refusal
        picture.draft("RGB", _DRAFT_PIXELS)
        picture.load()
    except _DAMAGED:
        return {"error": "invalid_image"}
    if _orientation(picture) in _QUARTER_TURNS:
        width, height = height, width
    return {"format": kind, "width": width, "height": height}


def _kind(head: bytes) -> str | None:
    """Tell the kind by the first bytes; a name or a header can lie."""
    if head.startswith(b"\xff\xd8\xff"):
        return "jpeg"
    if head.startswith(b"\x89PNG\r\n\x1a\n"):
        return "png"
    return "webp" if head[:4] == b"RIFF" and head[8:12] == b"WEBP" else None


def _webp_size(head: bytes) -> tuple[int, int]:
    """Read a WebP's size off its first chunk; libwebp would take its canvases to say it."""
    kind, bits = head[12:16], int.from_bytes(head[21:30], "little")
    if kind == b"VP8X":
        return 1 + (bits >> 24 & 0xFFFFFF), 1 + (bits >> 48)
    if kind == b"VP8L":
        return 1 + (bits & 0x3FFF), 1 + (bits >> 14 & 0x3FFF)
    return bits >> 40 & 0x3FFF, bits >> 56 & 0x3FFF


def _refusal(width: int, height: int, max_pixels: int) -> dict[str, Any] | None:
    """Refuse by the header alone."""
    if width * height > max_pixels or max(width, height) > limits.MAX_IMAGE_SIDE:
        return {"error": "image_too_large", "width": width, "height": height}
    return None if width * height else {"error": "invalid_image"}


def _orientation(picture: Image.Image) -> int:
    """Read the EXIF orientation; a damaged EXIF block says nothing."""
    try:
        orientation = picture.getexif().get(_ORIENTATION)
    except _DAMAGED:
        return 1
    return orientation if isinstance(orientation, int) else 1


def main() -> None:
    """Bound this process, wait for the one file, inspect it, print the answer."""
    confine()
    resource.setrlimit(resource.RLIMIT_AS, (_MEMORY_BYTES, _MEMORY_BYTES))
    resource.setrlimit(resource.RLIMIT_CPU, (_CPU_SECONDS, _CPU_SECONDS))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    with socket.socket(fileno=sys.stdin.fileno()) as door:
        _, descriptors, _, _ = socket.recv_fds(door, 1, 1)
        if not descriptors:
            return  # the API has stopped
        with os.fdopen(descriptors[0], "rb") as file:
            answer = inspect(file, int(sys.argv[1]))
    sys.stdout.write(json.dumps(answer))


if __name__ == "__main__":
    main()
