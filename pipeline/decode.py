"""From the bytes of a picture that nobody has checked to an upright sRGB picture."""

import struct
import zlib
from collections.abc import Callable
from io import BytesIO
from typing import Final, NamedTuple

from PIL import Image, JpegImagePlugin, PngImagePlugin, WebPImagePlugin

from contracts import limits
from contracts.errors import ErrorCode
from pipeline.decode_colours import to_rgb
from pipeline.errors import Refused


#: Pillow raises these on damaged files; `OSError` includes "cannot identify" and "truncated".
_DAMAGED: Final = (
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

#: The classes themselves, not `Image.open`: it would read a JPEG that holds several pictures (MPO,
#: JPS) as an animation. Those are views or previews beside the picture, which is the first.
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

#: Where a PNG keeps its bits per sample: behind signature, length, "IHDR", width and height.
_PNG_DEPTH: Final = 24


class Decoded(NamedTuple):
    """A picture and how many the file held."""

    picture: Image.Image
    """RGB, upright."""
    frames: int
    """1, or the length that an animation claims; `picture` is the first of them."""


def decode(data: bytes, *, max_pixels: int = limits.MAX_IMAGE_PIXELS) -> Decoded:
    """
    Decode a JPEG, PNG or WebP into an upright sRGB picture (EXIF orientation applied).

    The kind is read off the bytes, the size off the header, both before anything is decoded. Of an
    animation the first frame counts. `decode_colours` says what becomes of the colours.

    Raises:
        Refused: empty_body, unsupported_media_type, file_too_large, image_too_large, invalid_image.
        MemoryError: it needs more than this process may have.

    """
    kind = sniff(data)
    try:
        if kind == "WEBP":
            _check_size(*_webp_size(data), max_pixels)
        picture = _READERS[kind](BytesIO(data))
        _check_size(*picture.size, max_pixels)
        picture.load()
        frames = getattr(picture, "n_frames", 1)
        turn = _TURNS.get(_orientation(picture))
        colours = to_rgb(picture, depth=data[_PNG_DEPTH] if kind == "PNG" else 8)
        return Decoded(colours if turn is None else colours.transpose(turn), max(1, frames))
    except Image.DecompressionBombError as error:  # Pillow's own limit comes before ours
        raise Refused(code=ErrorCode.IMAGE_TOO_LARGE) from error
    except _DAMAGED as error:
        raise Refused(code=ErrorCode.INVALID_IMAGE) from error


def sniff(data: bytes) -> str:
    """
    Say "JPEG", "PNG" or "WEBP" by the first bytes; a name or a header can lie.

    Raises:
        Refused: empty_body, unsupported_media_type, file_too_large.

    """
    if not data:
        raise Refused(code=ErrorCode.EMPTY_BODY)
    if len(data) > limits.MAX_UPLOAD_BYTES:
        raise Refused(code=ErrorCode.FILE_TOO_LARGE)
    if data.startswith(b"\xff\xd8\xff"):
        return "JPEG"
    if data.startswith(b"\x89PNG\r\n\x1a\n"):
        return "PNG"
    if data[:4] == b"RIFF" and data[8:12] == b"WEBP":
        return "WEBP"
    raise Refused(code=ErrorCode.UNSUPPORTED_MEDIA_TYPE)


def _webp_size(data: bytes) -> tuple[int, int]:
    """Read a WebP's size off its first chunk; libwebp would take its canvases to say it."""
    kind, bits = data[12:16], int.from_bytes(data[21:30], "little")
    if kind == b"VP8X":
        return 1 + (bits >> 24 & 0xFFFFFF), 1 + (bits >> 48)
    if kind == b"VP8L":
        return 1 + (bits & 0x3FFF), 1 + (bits >> 14 & 0x3FFF)
    return bits >> 40 & 0x3FFF, bits >> 56 & 0x3FFF


def _check_size(width: int, height: int, max_pixels: int) -> None:
    """Refuse by the header alone."""
    if width * height > max_pixels:
        message = f"The picture has {width} x {height} pixels; the limit is {max_pixels}."
    elif max(width, height) > limits.MAX_IMAGE_SIDE:
        message = f"The picture is {width} x {height}; a side may have {limits.MAX_IMAGE_SIDE}."
    elif not width * height:
        raise Refused(code=ErrorCode.INVALID_IMAGE)
    else:
        return
    raise Refused(message, code=ErrorCode.IMAGE_TOO_LARGE)


def _orientation(picture: Image.Image) -> int:
    """Read the EXIF orientation; a damaged EXIF block says nothing."""
    try:
        orientation = picture.getexif().get(_ORIENTATION)
    except _DAMAGED:
        return 1
    return orientation if isinstance(orientation, int) else 1
