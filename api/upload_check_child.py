"""
The child process that checks an upload nobody has looked at: `python -m api.upload_check_child`.

It imports nothing of the API, so it starts in 0.1 s.
"""

from typing import Any, Final

from PIL import (
    Image,
    TiffImagePlugin,  # noqa: F401 - EXIF wants it, and once confined nothing can be imported
)

from s3_sam3.imaging import sniff, upright
from sandbox.child import SealedMemory, serve


_DRAFT_PIXELS: Final = (256, 256)
"""JPEG is decoded at the nearest smaller scale: all its bytes are read, few pixels are kept."""


def check(data: bytes, max_pixels: int) -> dict[str, Any]:
    """
    Answer format and upright size, or `{"error": code}`.

    The size is checked on the header, before anything is decoded. Then the whole picture is decoded
    once, because only that shows that it is complete; of an animation the first frame, since that
    is the one that will be segmented.
    """
    kind = sniff.kind(data)
    if kind is None:
        return {"error": "unsupported_media_type"}
    try:
        picture = upright.opened(data, max_pixels=max_pixels)
        width, height = picture.size
        picture.draft("RGB", _DRAFT_PIXELS)
        picture.load()
    except upright.TooManyPixels as error:
        return {"error": "image_too_large", "width": error.width, "height": error.height}
    except (*upright.DAMAGED, MemoryError):
        return {"error": "invalid_image"}
    if upright.lies_on_its_side(picture):
        width, height = height, width
    return {"format": kind, "width": width, "height": height}


def answer(request: dict[str, int], memory: SealedMemory) -> dict[str, Any]:
    """Check the file in the memory."""
    return check(memory.read(request["size"]), request["max_pixels"])


if __name__ == "__main__":
    Image.MAX_IMAGE_PIXELS = None  # ours is checked; Pillow would only warn below it
    serve(answer)
