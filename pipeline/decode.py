"""From the bytes of a picture that nobody has checked to an upright RGB picture."""

import struct
import zlib
from io import BytesIO
from typing import Final

from PIL import Image, ImageOps

from contracts import limits
from contracts.errors import ErrorCode
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

#: What transparent pixels show; dropping alpha instead would show whatever colour lies beneath.
_BACKGROUND: Final = (255, 255, 255)


def decode(data: bytes, *, max_pixels: int = limits.MAX_IMAGE_PIXELS) -> Image.Image:
    """
    Decode a JPEG, PNG or WebP into an upright RGB picture (EXIF orientation applied).

    The kind is read off the bytes, the size off the header, both before anything is decoded. Of an
    animation the first frame counts; alpha is laid on white; 16-bit grey is scaled to 8 bits.

    Raises:
        Refused: empty_body, unsupported_media_type, file_too_large, image_too_large, invalid_image.

    """
    kind = sniff(data)
    if len(data) > limits.MAX_UPLOAD_BYTES:
        raise Refused(code=ErrorCode.FILE_TOO_LARGE)
    try:
        with Image.open(BytesIO(data), formats=[kind]) as picture:
            width, height = picture.size
            if width * height > max_pixels:
                raise Refused(
                    f"The picture has {width} x {height} pixels; the limit is {max_pixels}.",
                    code=ErrorCode.IMAGE_TOO_LARGE,
                )
            picture.load()
            return _to_rgb(_upright(picture))
    except Image.DecompressionBombError as error:  # Pillow's own limit comes before ours
        raise Refused(code=ErrorCode.IMAGE_TOO_LARGE) from error
    except _DAMAGED as error:
        raise Refused(code=ErrorCode.INVALID_IMAGE) from error


def sniff(data: bytes) -> str:
    """Say "JPEG", "PNG" or "WEBP" by the first bytes; a name or a header can lie."""
    if not data:
        raise Refused(code=ErrorCode.EMPTY_BODY)
    if data.startswith(b"\xff\xd8\xff"):
        return "JPEG"
    if data.startswith(b"\x89PNG\r\n\x1a\n"):
        return "PNG"
    if data[:4] == b"RIFF" and data[8:12] == b"WEBP":
        return "WEBP"
    raise Refused(code=ErrorCode.UNSUPPORTED_MEDIA_TYPE)


def _upright(picture: Image.Image) -> Image.Image:
    """Turn the picture as its EXIF orientation says; a damaged EXIF block says nothing."""
    try:
        return ImageOps.exif_transpose(picture)
    except _DAMAGED:
        return picture


def _to_rgb(picture: Image.Image) -> Image.Image:
    """Three bytes per pixel, whatever the file held."""
    if picture.mode.startswith("I"):
        return _from_16_bit(picture)
    if picture.mode in {"RGBA", "LA", "PA", "La", "RGBa"} or "transparency" in picture.info:
        layer = picture.convert("RGBA")
        ground = Image.new("RGB", layer.size, _BACKGROUND)
        ground.paste(layer, mask=layer.getchannel("A"))
        return ground
    # A copy in any case: the caller's picture must not be tied to the file.
    return picture.convert("RGB") if picture.mode != "RGB" else picture.copy()


def _from_16_bit(picture: Image.Image) -> Image.Image:
    """Scale 16-bit grey to bytes; Pillow's own conversion clips at 255 and gives white."""
    wide = picture.convert("I")
    return wide.point(lambda value: value * (1 / 257)).convert("L").convert("RGB")
