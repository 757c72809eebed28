"""WebPs: moving, lossless, and with a canvas that lies."""

from typing import Any

from PIL import Image

from .case import WHITE, Odd, flat, refused
from .making import (
    BLUE,
    GREEN,
    RED,
    YELLOW,
    canvas,
    exif,
    quarters,
    saved,
    swapped_profile,
    webp,
)


def lossless(**options: Any) -> bytes:
    """The quarters as WebP without loss."""
    return saved(quarters(), "WEBP", lossless=True, **options)


def animated(count: int) -> bytes:
    """An animation that begins with the quarters."""
    others = [Image.new("RGB", (64, 48), (i % 256, i // 256, 99)) for i in range(1, count)]
    return saved(
        quarters(), "WEBP", save_all=True, append_images=others, duration=20, lossless=True
    )


def body() -> bytes:
    """What stands in the chunk of a lossless picture."""
    data = lossless()
    assert data[12:16] == b"VP8L"
    return data[20 : 20 + int.from_bytes(data[16:20], "little")]


def on_canvas(width: int, height: int) -> bytes:
    """The quarters on a canvas of another size."""
    return webp(canvas(width, height), (b"VP8L", body()))


PICTURES = {
    "lossy": Odd(make=lambda: saved(quarters(), "WEBP", quality=95), within=40),
    "lossless": Odd(make=lossless, within=0),
    "transparent": Odd(
        make=lambda: saved(Image.new("RGBA", (64, 48), (9, 9, 9, 0)), "WEBP", lossless=True),
        quarters=flat(WHITE),
    ),
    "EXIF that lays it on its side": Odd(
        make=lambda: lossless(exif=exif(6)), size=(48, 64), quarters=(BLUE, RED, YELLOW, GREEN)
    ),
    "a profile that swaps colours": Odd(
        make=lambda: lossless(icc_profile=swapped_profile()),
        quarters=((30, 30, 230), (41, 200, 30), (219, 50, 29), (20, 220, 239)),
        within=6,
    ),
    "an animation": Odd(make=lambda: animated(3), frames=3),
    "an animation of a thousand frames": Odd(make=lambda: animated(1000), frames=1000),
    "garbage behind the end": Odd(make=lambda: lossless() + b"%PDF-1.7" * 50),
    "as wide as may be": Odd(
        make=lambda: saved(Image.new("RGB", (16_383, 2), RED), "WEBP", lossless=True),
        size=(16_383, 2),
        quarters=flat(RED),
    ),
    "a picture as large as may be": Odd(
        make=lambda: saved(Image.new("RGB", (7071, 7071), RED), "WEBP", lossless=True, method=0),
        size=(7071, 7071),
        quarters=flat(RED),
    ),
    **refused(
        "image_too_large",
        {
            "a canvas too large": lambda: webp(canvas(16_384, 16_384)),
            "a canvas too large for its picture": lambda: on_canvas(16_384, 16_384),
        },
    ),
    **refused(
        "invalid_image",
        {
            "a canvas larger than its picture": lambda: on_canvas(640, 480),
            "a canvas smaller than its picture": lambda: on_canvas(6, 4),
            "a canvas and nothing on it": lambda: webp(canvas(64, 48)),
            "a length longer than the file": lambda: webp((b"VP8L", body()), size=9_000_000),
            "a length of nothing": lambda: webp((b"VP8L", body()), size=4),
            "a chunk longer than the file": lambda: (
                b"RIFF" + (5000).to_bytes(4, "little") + b"WEBPVP8 " + b"\xff\xff\xff\x7f" + body()
            ),
            "noise for a picture": lambda: webp((b"VP8 ", bytes(range(256)))),
            "the first bytes alone": lambda: b"RIFF\x04\0\0\0WEBP",
        },
    ),
}
