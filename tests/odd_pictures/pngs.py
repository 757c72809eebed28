"""PNGs: every depth, lies in headers, and what deflates to much more than it seems."""

import struct
import zlib
from typing import Any

from PIL import Image, PngImagePlugin

from s3_sam3.contracts import limits

from .case import BLACK, GREY, WHITE, Odd, flat, refused
from .making import (
    BLUE,
    GREEN,
    PNG_HEAD,
    RED,
    YELLOW,
    behind_header,
    chunk,
    exif,
    flat_png,
    ihdr,
    laced,
    plain_profile,
    quarters,
    saved,
    swapped_profile,
    zeros,
)


HUGE = 2**31 - 1
AT_LIMIT = 7071
"""Pixels along a side of the largest square: 49,999,041 pixels."""


def png(mode: str = "RGB", **options: Any) -> bytes:
    """The quarters as PNG."""
    return saved(quarters(mode=mode), "PNG", **options)


def deep(samples: tuple[int, ...], colour: int, *extra: bytes, depth: int = 16) -> bytes:
    """A flat PNG of 16 bits per sample, 64 x 48 pixels."""
    pixel = b"".join(struct.pack(">H", sample) for sample in samples)
    return flat_png(64, 48, pixel * 64, *extra, depth=depth, colour=colour)


def small(depth: int, byte: int, *extra: bytes, colour: int = 0) -> bytes:
    """A flat PNG of few bits per sample: each byte of its rows is the same."""
    return flat_png(64, 48, bytes([byte]) * (64 * depth // 8), *extra, depth=depth, colour=colour)


def keyed(*samples: int) -> bytes:
    """The chunk that names one colour transparent."""
    return chunk(b"tRNS", b"".join(struct.pack(">H", sample) for sample in samples))


def ghost(mode: str) -> bytes:
    """The quarters, the right half of them transparent."""
    picture = quarters(mode=mode)
    alpha = Image.new("L", picture.size, 255)
    alpha.paste(0, (32, 0, 64, 48))
    picture.putalpha(alpha)
    return saved(picture, "PNG")


def palette(**options: Any) -> bytes:
    """The quarters with a palette of four colours."""
    return saved(quarters().quantize(4, dither=Image.Dither.NONE), "PNG", **options)


def see_through() -> bytes:
    """The same, with half-transparent green: an alpha for each entry."""
    picture = quarters().quantize(4, dither=Image.Dither.NONE)
    place = picture.getpixel((60, 2))
    alphas = bytes(128 if entry == place else 255 for entry in range(4))
    return saved(picture, "PNG", transparency=alphas)


def animated(count: int) -> bytes:
    """An APNG that begins with the quarters."""
    others = [Image.new("RGB", (64, 48), (i % 256, i // 256, 99)) for i in range(1, count)]
    return saved(quarters(), "PNG", save_all=True, append_images=others, duration=20)


def header(width: int, height: int, **fields: int) -> bytes:
    """A PNG whose header is all there is to it."""
    data = chunk(b"IDAT", zlib.compress(b"\0"))
    return PNG_HEAD + ihdr(width, height, **fields) + data + chunk(b"IEND", b"")


def rows(data: bytes) -> bytes:
    """A PNG of 64 x 48 pixels around an IDAT of any bytes."""
    return PNG_HEAD + ihdr(64, 48) + chunk(b"IDAT", data) + chunk(b"IEND", b"")


def texts(count: int) -> bytes:
    """The quarters with many pieces of text."""
    return behind_header(png(), chunk(b"tEXt", b"Comment\0" + b"x" * 50) * count)


MEGA = 1 << 20

PICTURES = {
    "interlaced": Odd(make=lambda: laced(quarters())),
    "1 bit": Odd(make=lambda: small(1, 0xFF), quarters=flat(WHITE)),
    "2 bits": Odd(make=lambda: small(2, 0x55), quarters=flat((85, 85, 85))),
    "4 bits": Odd(make=lambda: small(4, 0x77), quarters=flat((119, 119, 119))),
    "1 bit with a transparent colour": Odd(
        make=lambda: small(1, 0, keyed(0)), quarters=flat(WHITE)
    ),
    "2 bits with a transparent colour": Odd(
        make=lambda: small(2, 0x55, keyed(1)), quarters=flat(WHITE)
    ),
    "4 bits with a transparent colour": Odd(
        make=lambda: small(4, 0x77, keyed(7)), quarters=flat(WHITE)
    ),
    "4 bits with another transparent colour": Odd(
        make=lambda: small(4, 0x77, keyed(119)), quarters=flat((119, 119, 119))
    ),
    "16-bit grey": Odd(make=lambda: deep((32_896,), 0), quarters=flat(GREY), within=1),
    "16-bit grey with a transparent colour": Odd(
        make=lambda: deep((32_896,), 0, keyed(32_896)), quarters=flat(WHITE)
    ),
    "16-bit grey with alpha": Odd(make=lambda: deep((0, 32_896), 4), quarters=flat((127,) * 3)),
    "16-bit RGB": Odd(
        make=lambda: deep((65_535, 32_896, 0), 2), quarters=flat((255, 128, 0)), within=1
    ),
    "16-bit RGB with a transparent colour": Odd(
        make=lambda: deep((65_535, 32_896, 0), 2, keyed(65_535, 32_896, 0)), quarters=flat(WHITE)
    ),
    "16-bit RGBA": Odd(make=lambda: deep((65_535, 0, 0, 0), 6), quarters=flat(WHITE)),
    "grey with alpha": Odd(
        make=lambda: ghost("L"), quarters=((90,) * 3, WHITE, (63,) * 3, WHITE), within=2
    ),
    "RGBA": Odd(make=lambda: ghost("RGB"), quarters=(RED, WHITE, BLUE, WHITE), within=1),
    "a transparent colour": Odd(
        make=lambda: png(transparency=GREEN), quarters=(RED, WHITE, BLUE, YELLOW), within=1
    ),
    "a palette": Odd(make=palette, within=1),
    "a palette with alpha": Odd(
        make=see_through, quarters=(RED, (142, 227, 147), BLUE, YELLOW), within=2
    ),
    "a palette without what is pointed at": Odd(
        make=lambda: small(8, 200, chunk(b"PLTE", bytes((1, 2, 3))), colour=3), quarters=None
    ),
    "EXIF that lays it on its side": Odd(
        make=lambda: png(exif=exif(6)), size=(48, 64), quarters=(BLUE, RED, YELLOW, GREEN)
    ),
    "a profile that swaps colours": Odd(
        make=lambda: png(icc_profile=swapped_profile()),
        quarters=((30, 30, 230), (41, 200, 30), (219, 50, 29), (20, 220, 239)),
        within=6,
    ),
    "a profile under transparency": Odd(
        make=lambda: saved(quarters(mode="RGBA"), "PNG", icc_profile=swapped_profile()),
        quarters=((30, 30, 230), (41, 200, 30), (219, 50, 29), (20, 220, 239)),
        within=6,
    ),
    "a profile that is sRGB": Odd(make=lambda: png(icc_profile=plain_profile()), within=0),
    "an animation": Odd(make=lambda: animated(3), frames=3),
    "an animation of a thousand frames": Odd(make=lambda: animated(1000), frames=1000),
    "an animation of no frames": Odd(
        make=lambda: behind_header(png(), chunk(b"acTL", bytes(8))),
    ),
    "a hundred thousand texts": Odd(make=lambda: texts(100_000)),
    "HTML behind the end": Odd(make=lambda: png() + b"<script>alert(1)</script>"),
    "rows with a wrong checksum": Odd(  # deflate has a checksum of its own, which is right
        make=lambda: PNG_HEAD + ihdr(64, 48) + chunk(b"IDAT", zlib.compress(bytes(9264)), wrong=1),
        quarters=flat(BLACK),
    ),
    "more rows than the header says": Odd(
        make=lambda: rows(zlib.compress(bytes(9_000_000))), quarters=flat(BLACK)
    ),
    "half a gigabyte of rows behind the picture": Odd(
        make=lambda: rows(zeros(512 * MEGA)), quarters=flat(BLACK)
    ),
    "one pixel": Odd(
        make=lambda: flat_png(1, 1, bytes((9, 9, 9))), size=(1, 1), quarters=flat((9, 9, 9))
    ),
    "a line as long as may be": Odd(
        make=lambda: flat_png(limits.MAX_IMAGE_SIDE, 1, bytes(3 * limits.MAX_IMAGE_SIDE)),
        size=(limits.MAX_IMAGE_SIDE, 1),
        quarters=flat(BLACK),
    ),
    "a column of 20,000": Odd(
        make=lambda: flat_png(2, 20_000, bytes(6)), size=(2, 20_000), quarters=flat(BLACK)
    ),
    "a bomb as large as may be": Odd(
        make=lambda: flat_png(AT_LIMIT, AT_LIMIT, bytes(3 * AT_LIMIT)),
        size=(AT_LIMIT, AT_LIMIT),
        quarters=flat(BLACK),
    ),
    "a bomb of 16 bits with alpha, as large as may be": Odd(
        make=lambda: flat_png(AT_LIMIT, AT_LIMIT, bytes(8 * AT_LIMIT), depth=16, colour=6),
        size=(AT_LIMIT, AT_LIMIT),
        quarters=flat(WHITE),
    ),
    **refused(
        "image_too_large",
        {
            "a pixel more than may be": lambda: header(7072, 7072),
            "two billion pixels square": lambda: header(HUGE, HUGE),
            "a column of fifty million": lambda: header(1, 50_000_000),
            "a line of fifty million": lambda: header(50_000_000, 1),
            "a size that is negative to some": lambda: header(2**32 - 5, 48),
            "a line one longer than may be": lambda: header(limits.MAX_IMAGE_SIDE + 1, 1),
        },
    ),
    **refused(
        "invalid_image",
        {
            "the signature alone": lambda: PNG_HEAD,
            "no width": lambda: header(0, 48),
            "no height": lambda: header(64, 0),
            "3 bits": lambda: header(64, 48, depth=3),
            "a fifth kind of colour": lambda: header(64, 48, colour=5),
            "a palette that is not there": lambda: header(64, 48, colour=3),
            "no header": lambda: PNG_HEAD + chunk(b"IDAT", zlib.compress(bytes(99))),
            "a header with a wrong checksum": lambda: (
                PNG_HEAD + chunk(b"IHDR", ihdr(64, 48)[8:21], wrong=1) + png()[33:]
            ),
            "no rows": lambda: PNG_HEAD + ihdr(64, 48) + chunk(b"IEND", b""),
            "rows that are noise": lambda: rows(b"\x78\x9c" + bytes(range(256))),
            "a fifth filter": lambda: rows(zlib.compress(b"\x09" * 9264)),
            "fewer rows than the header says": lambda: rows(zlib.compress(bytes(2000))),
            "a chunk longer than the file": lambda: (
                PNG_HEAD + ihdr(64, 48) + struct.pack(">I", 2**31 - 1) + b"IDAT" + bytes(50)
            ),
            "a bomb for a profile": lambda: behind_header(
                png(), chunk(b"iCCP", b"p\0\0" + zeros(256 * MEGA))
            ),
            "a bomb for a text": lambda: behind_header(
                png(), chunk(b"zTXt", b"Comment\0\0" + zeros(256 * MEGA))
            ),
            "a bomb for a text in Unicode": lambda: behind_header(
                png(), chunk(b"iTXt", b"Comment\0\1\0\0\0" + zeros(256 * MEGA))
            ),
            "seventy bombs for texts": lambda: behind_header(
                png(), chunk(b"zTXt", b"Comment\0\0" + zeros(PngImagePlugin.MAX_TEXT_CHUNK)) * 70
            ),
        },
    ),
}
