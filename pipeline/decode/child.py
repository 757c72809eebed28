"""
The child process that decodes pictures nobody has checked: `python -m pipeline.decode.child`.

The pixels take the place of the bytes in the shared memory. It imports Pillow and no torch.
"""

from collections.abc import Iterator
from typing import Any, Final, NamedTuple

from PIL import (
    Image,
    TiffImagePlugin,  # noqa: F401 - EXIF wants it, and once confined nothing can be imported
)

from pipeline.errors import Refused
from s3_sam3.contracts import limits
from s3_sam3.contracts.errors import ErrorCode
from s3_sam3.imaging import sniff, upright
from sandbox.child import SealedMemory, serve


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


#: Pillow's own layout of RGB, so that neither side has to move bytes about.
LAYOUT: Final = "RGBX"
PIXEL_BYTES: Final = 4

#: Rows go over in strips of about so many bytes: as much as malloc gives without new pages.
_STRIP_BYTES: Final = 65_536


def answer(request: dict[str, int], memory: SealedMemory) -> dict[str, Any]:
    """Put the pixels in the place of the bytes and say what they are, or why there are none."""
    try:
        data = memory.read(request["size"])
        picture, frames = decode(data, max_pixels=request["max_pixels"])
        memory.write(_strips(picture))
    except Refused as refusal:
        return {"error": refusal.code, "message": refusal.message}
    except MemoryError:
        return {"memory": True}
    return {"width": picture.width, "height": picture.height, "frames": frames}


def _strips(picture: Image.Image) -> Iterator[bytes]:
    rows = max(1, _STRIP_BYTES // (PIXEL_BYTES * picture.width))
    for top in range(0, picture.height, rows):
        strip = picture.crop((0, top, picture.width, min(top + rows, picture.height)))
        yield strip.tobytes("raw", LAYOUT)


if __name__ == "__main__":
    Image.MAX_IMAGE_PIXELS = None  # ours is checked; Pillow would only warn below it
    serve(answer)
