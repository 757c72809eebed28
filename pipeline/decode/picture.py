"""From the bytes of a picture that nobody has checked to an upright sRGB picture."""

from typing import NamedTuple

from PIL import Image

from pipeline.errors import Refused
from s3_sam3.contracts import limits
from s3_sam3.contracts.errors import ErrorCode
from s3_sam3.imaging import sniff, upright


class Decoded(NamedTuple):
    """A picture and how many the file held."""

    picture: Image.Image
    """RGB, upright."""
    frames: int
    """1, or the length that an animation claims; `picture` is the first of them."""


def check_type(data: bytes) -> None:
    """
    Refuse what needs no decoder to be refused.

    Raises:
        Refused: empty_body, unsupported_media_type, file_too_large.

    """
    if not data:
        raise Refused(code=ErrorCode.EMPTY_BODY)
    if len(data) > limits.MAX_UPLOAD_BYTES:
        raise Refused(code=ErrorCode.FILE_TOO_LARGE)
    if sniff.kind(data) is None:
        raise Refused(code=ErrorCode.UNSUPPORTED_MEDIA_TYPE)


def decode(data: bytes, *, max_pixels: int = limits.MAX_IMAGE_PIXELS) -> Decoded:
    """
    Decode a JPEG, PNG or WebP into an upright sRGB picture (EXIF orientation applied).

    The type is read off the first bytes, the size off the header, both before anything is decoded.
    Of an animation the first frame counts. `s3_sam3.imaging.colours` says what becomes of the
    colours.

    Raises:
        Refused: as `check_type`, and image_too_large, invalid_image.
        MemoryError: it needs more than this process may have.

    """
    check_type(data)
    try:
        picture = upright.opened(data, max_pixels=max_pixels)
        return Decoded(upright.upright(picture, data), max(1, getattr(picture, "n_frames", 1)))
    except upright.TooManyPixels as error:
        message = (
            f"The picture is {error.width} x {error.height}. It may have {max_pixels} pixels,"
            f" and {limits.MAX_IMAGE_SIDE} on a side."
        )
        raise Refused(message, code=ErrorCode.IMAGE_TOO_LARGE) from error
    except Image.DecompressionBombError as error:  # Pillow's own limit, where it is the lower one
        raise Refused(code=ErrorCode.IMAGE_TOO_LARGE) from error
    except upright.DAMAGED as error:
        raise Refused(code=ErrorCode.INVALID_IMAGE) from error
