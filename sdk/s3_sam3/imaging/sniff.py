"""What a picture's first bytes say, before any decoder sees them: its type, a WebP's size."""

from typing import Final, Literal


Kind = Literal["jpeg", "png", "webp"]

HEAD_BYTES: Final = 12
"""So many leading bytes tell the type."""


def kind(head: bytes) -> Kind | None:
    """Tell the type by the first bytes, since a name or a header can lie; None: another one."""
    if head.startswith(b"\xff\xd8\xff"):
        return "jpeg"
    if head.startswith(b"\x89PNG\r\n\x1a\n"):
        return "png"
    if head[:4] == b"RIFF" and head[8:12] == b"WEBP":
        return "webp"
    return None


def webp_size(data: bytes) -> tuple[int, int]:
    """Read the size off a WebP's first chunk; libwebp would allocate its canvases to say it."""
    chunk, bits = data[12:16], int.from_bytes(data[21:30], "little")
    if chunk == b"VP8X":
        return 1 + (bits >> 24 & 0xFFFFFF), 1 + (bits >> 48)
    if chunk == b"VP8L":
        return 1 + (bits & 0x3FFF), 1 + (bits >> 14 & 0x3FFF)
    return bits >> 40 & 0x3FFF, bits >> 56 & 0x3FFF
