"""
The child process that decodes pictures nobody has checked: `python -m pipeline.decode.child`.

The pixels take the place of the bytes in the shared memory. It imports Pillow and no torch.
"""

from collections.abc import Iterator
from typing import Any, Final

from PIL import (
    Image,
    TiffImagePlugin,  # noqa: F401 - EXIF wants it, and once confined nothing can be imported
)

from pipeline.decode.picture import decode
from pipeline.errors import Refused
from sandbox.child import serve
from sandbox.memory import SealedMemory


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
