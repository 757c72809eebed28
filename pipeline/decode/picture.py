"""From the bytes of a picture that nobody has checked to an upright sRGB picture."""

from typing import NamedTuple

from PIL import Image

from pipeline.errors import Refused
from s3_sam3.contracts import limits
from s3_sam3.contracts.errors import ErrorCode
from s3_sam3.imaging import upright


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
    animation the first frame counts. `s3_sam3.imaging.colours` says what becomes of the colours.

    Raises:
        Refused: empty_body, unsupported_media_type, file_too_large, image_too_large, invalid_image.
        MemoryError: it needs more than this process may have.

    """
    kind = sniff(data)
    try:
        if kind == "WEBP":
            _check_size(*_webp_size(data), max_pixels)
        picture = upright.opened(data)
        _check_size(*picture.size, max_pixels)
        colours = upright.upright(picture, data)
        return Decoded(colours, max(1, getattr(picture, "n_frames", 1)))
    except Image.DecompressionBombError as error:  # Pillow's own limit comes before ours
        raise Refused(code=ErrorCode.IMAGE_TOO_LARGE) from error
    except upright.DAMAGED as error:
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
    kind = upright.kind(data)
    if kind is None:
        raise Refused(code=ErrorCode.UNSUPPORTED_MEDIA_TYPE)
    return kind


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
