"""Read the picture that people see in a file: the first one, upright, in sRGB."""

import struct
import zlib
from collections.abc import Callable
from io import BytesIO
from typing import Final

from PIL import Image, JpegImagePlugin, PngImagePlugin, WebPImagePlugin

from s3_sam3.contracts import limits
from s3_sam3.imaging import sniff
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
    "jpeg": JpegImagePlugin.JpegImageFile,
    "png": PngImagePlugin.PngImageFile,
    "webp": WebPImagePlugin.WebPImageFile,
}

_ORIENTATION: Final = 0x0112
_QUARTER_TURNS: Final = frozenset({5, 6, 7, 8})
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


class TooManyPixels(Exception):
    """The header claims more pixels, or a longer side, than allowed."""

    def __init__(self, width: int, height: int) -> None:
        super().__init__(f"{width} x {height} pixels are too many")
        self.width = width
        self.height = height


def opened(data: bytes, *, max_pixels: int | None = None) -> Image.Image:
    """
    Read the header of a JPEG, PNG or WebP; nothing is decoded.

    With *max_pixels* the size that the header claims is bounded, the sides by MAX_IMAGE_SIDE.

    Raises:
        TooManyPixels: it is larger.
        ValueError: it is another format, or a side has no pixel.
        Exception: one of DAMAGED, or Pillow's DecompressionBombError.

    """
    kind = sniff.kind(data)
    if kind is None:
        msg = "it is no JPEG, PNG or WebP"
        raise ValueError(msg)
    if max_pixels is None:
        return _READERS[kind](BytesIO(data))
    if kind == "webp":
        _check_size(*sniff.webp_size(data), max_pixels)
    picture = _READERS[kind](BytesIO(data))
    _check_size(*picture.size, max_pixels)
    return picture


def _check_size(width: int, height: int, max_pixels: int) -> None:
    if width * height > max_pixels or max(width, height) > limits.MAX_IMAGE_SIDE:
        raise TooManyPixels(width, height)
    if not width * height:
        msg = "a side has no pixel"
        raise ValueError(msg)


def lies_on_its_side(picture: Image.Image) -> bool:
    """Whether EXIF swaps width and height of a loaded picture; PNG's may stand at the end."""
    return _orientation(picture) in _QUARTER_TURNS


def upright(picture: Image.Image, data: bytes) -> Image.Image:
    """
    Decode what `opened` read of *data* to RGB, turned as EXIF says.

    Raises:
        Exception: one of DAMAGED, or Pillow's DecompressionBombError.

    """
    picture.load()
    turn = _TURNS.get(_orientation(picture))
    colours = to_rgb(picture, depth=data[_PNG_DEPTH] if sniff.kind(data) == "png" else 8)
    return colours if turn is None else colours.transpose(turn)


def _orientation(picture: Image.Image) -> int:
    """Read the EXIF orientation; 1 (upright) if the EXIF block is damaged."""
    try:
        orientation = picture.getexif().get(_ORIENTATION)
    except DAMAGED:
        return 1
    return orientation if isinstance(orientation, int) else 1
