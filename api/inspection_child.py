"""
The child process that reads an untrusted picture: `python -m api.inspection_child PIXELS`.

Its standard input is a socket over which it gets the picture's descriptor; JSON is its answer.
Whatever a hostile file does to the decoder, it does here: in a process with a bound on memory and
CPU time, no secret in its environment, and nothing else to do. It imports nothing of the API, so
it starts in 0.1 s.
"""

import json
import os
import resource
import socket
import sys
from typing import IO, Any, Final

from PIL import Image, UnidentifiedImageError


_MEMORY_BYTES: Final = 2 * 1024**3
"""WebP at the pixel limit needs three canvases of 200 MB."""

_CPU_SECONDS: Final = 20
_FORMATS: Final = ("JPEG", "PNG", "WEBP")
_ORIENTATION: Final = 0x0112
_QUARTER_TURNS: Final = frozenset({5, 6, 7, 8})
"""EXIF orientations that swap width and height."""

_DRAFT_PIXELS: Final = (256, 256)
"""JPEG is decoded at the nearest smaller scale: all its bytes are read, few pixels are kept."""


def inspect(file: IO[bytes], max_pixels: int) -> dict[str, Any]:
    """
    Answer format and upright size, or `{"error": code}`.

    The pixel bound is checked on the header, before anything is decoded; then the whole picture
    is decoded once, because only that shows that it is complete.
    """
    # Our own bound is checked below; Pillow's would only warn in the range that matters.
    Image.MAX_IMAGE_PIXELS = None
    try:
        with Image.open(file, formats=_FORMATS) as picture:
            width, height = picture.size
            if width * height > max_pixels:
                return {"error": "image_too_large", "width": width, "height": height}
            # A phone's JPEG may carry a preview as second frame (MPO); the first is the picture.
            kind = "jpeg" if picture.format == "MPO" else str(picture.format).lower()
            if kind != "jpeg" and getattr(picture, "n_frames", 1) > 1:
                return {"error": "unsupported_media_type", "reason": "animated"}
            picture.draft("RGB", _DRAFT_PIXELS)
            picture.load()
            if picture.getexif().get(_ORIENTATION) in _QUARTER_TURNS:
                width, height = height, width
            return {"format": kind, "width": width, "height": height}
    except (UnidentifiedImageError, OSError, SyntaxError, ValueError, EOFError, MemoryError):
        # Pillow raises each of these for broken files of one kind or another.
        return {"error": "invalid_image"}


def main() -> None:
    """Bound this process, wait for the one file, inspect it, print the answer."""
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
