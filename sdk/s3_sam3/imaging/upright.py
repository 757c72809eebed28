"""Read the picture that people see in a file: the first one, upright, in sRGB."""

import struct
import zlib
from collections.abc import Callable
from io import BytesIO
from typing import Final

from PIL import Image, JpegImagePlugin, PngImagePlugin, WebPImagePlugin

from s3_sam3.imaging.colours import to_rgb


#: Pillow raises these on damaged files; `OSError` includes "cannot identify" and "truncated".
DAMAGED: Final = (
    OSError,
    SyntaxError,
    ValueError,
    TypeError,
    IndexError,
    KeyError,
    EOFError,
    OverflowError,
    struct.error,
    zlib.error,
)

#: The classes themselves, because `Image.open` reads a JPEG with several pictures (MPO, JPS) as an
#: animation. The further ones are other views or previews of the first.
_READERS: Final[dict[str, Callable[[BytesIO], Image.Image]]] = {
    "JPEG": JpegImagePlugin.JpegImageFile,
    "PNG": PngImagePlugin.PngImageFile,
    "WEBP": WebPImagePlugin.WebPImageFile,
}

_ORIENTATION: Final = 0x0112
_TURNS: Final = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}

#: Offset of a PNG's bits per sample: after signature, length, "IHDR", width and height.
_PNG_DEPTH: Final = 24


def kind(data: bytes) -> str | None:
    """The format by the first bytes: "JPEG", "PNG" or "WEBP"; None: another."""
    if data.startswith(b"\xff\xd8\xff"):
        return "JPEG"
    if data.startswith(b"\x89PNG\r\n\x1a\n"):
        return "PNG"
    if data[:4] == b"RIFF" and data[8:12] == b"WEBP":
        return "WEBP"
    return None


def opened(data: bytes) -> Image.Image:
    """
    Read the header of a JPEG, PNG or WebP; nothing is decoded.

    Raises:
        ValueError: it is another format.
        Exception: one of DAMAGED, or Pillow's DecompressionBombError.

    """
    reader = _READERS.get(kind(data) or "")
    if reader is None:
        msg = "it is no JPEG, PNG or WebP"
        raise ValueError(msg)
    return reader(BytesIO(data))


def upright(picture: Image.Image, data: bytes) -> Image.Image:
    """
    Decode what `opened` read of *data* to RGB, turned as EXIF says.

    Raises:
        Exception: one of DAMAGED, or Pillow's DecompressionBombError.

    """
    picture.load()
    turn = _TURNS.get(_orientation(picture))
    colours = to_rgb(picture, depth=data[_PNG_DEPTH] if kind(data) == "PNG" else 8)
    return colours if turn is None else colours.transpose(turn)


def _orientation(picture: Image.Image) -> int:
    """Read the EXIF orientation; 1 (upright) if the EXIF block is damaged."""
    try:
        orientation = picture.getexif().get(_ORIENTATION)
    except DAMAGED:
        return 1
    return orientation if isinstance(orientation, int) else 1
