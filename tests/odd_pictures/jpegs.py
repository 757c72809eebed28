"""JPEGs: turned, printed, lied about, and coded in ways that few know."""

import random
from typing import Any

from PIL import Image, ImageChops

from .case import GREY, Odd, flat, refused
from .making import (
    BLUE,
    GREEN,
    RED,
    YELLOW,
    bare_jpeg,
    exif,
    many_scans,
    plain_profile,
    quarters,
    resized_jpeg,
    saved,
    swapped_profile,
    with_segment,
    without_segment,
    ycck,
)


def jpeg(mode: str = "RGB", **options: Any) -> bytes:
    """The quarters as JPEG, without subsampling, which would blur the edges."""
    return saved(quarters(mode=mode), "JPEG", quality=90, subsampling=0, **options)


def turned(orientation: int) -> bytes:
    """The quarters stored as a camera held otherwise would, with the EXIF that says so."""
    turns = Image.Transpose
    stored = {
        1: None,
        2: turns.FLIP_LEFT_RIGHT,
        3: turns.ROTATE_180,
        4: turns.FLIP_TOP_BOTTOM,
        5: turns.TRANSPOSE,
        6: turns.ROTATE_90,
        7: turns.TRANSVERSE,
        8: turns.ROTATE_270,
    }[orientation]
    picture = quarters() if stored is None else quarters().transpose(stored)
    return with_segment(saved(picture, "JPEG", quality=90, subsampling=0), 0xE1, exif(orientation))


def in_exif(block: bytes) -> bytes:
    """The quarters with an EXIF block."""
    return with_segment(jpeg(), 0xE1, block)


def two_pictures() -> bytes:
    """MPO, as phones and stereo cameras write it: the picture, and another beside it."""
    return saved(quarters(), "MPO", save_all=True, append_images=[Image.new("RGB", (16, 12))])


def plain_cmyk() -> bytes:
    """CMYK without Adobe's marker, which alone says that inks are stored inverted."""
    inverted = ImageChops.invert(quarters(mode="CMYK"))
    return without_segment(saved(inverted, "JPEG", quality=90, subsampling=0), 0xEE)


def printed(**options: Any) -> bytes:
    """CMYK of Adobe's kind."""
    return jpeg("CMYK", **options)


SWAPPED = ((30, 30, 230), (41, 200, 30), (219, 50, 29), (20, 220, 239))
"""The quarters when red and blue have changed places."""

PICTURES = {
    **{f"EXIF orientation {turn}": Odd(make=lambda t=turn: turned(t)) for turn in range(1, 9)},
    **{
        f"an orientation of {turn}": Odd(make=lambda t=turn: in_exif(exif(t)))
        for turn in (0, 9, 65_535)
    },
    "EXIF whose directories form a loop": Odd(
        make=lambda: in_exif(exif(6, following=8)),
        size=(48, 64),
        quarters=(BLUE, RED, YELLOW, GREEN),
    ),
    "EXIF of four billion values": Odd(make=lambda: in_exif(exif(6, count=2**32 - 1))),
    "EXIF of an unknown type": Odd(make=lambda: in_exif(exif(6, kind=99))),
    "an orientation in letters": Odd(make=lambda: in_exif(exif(6, kind=2))),
    "an orientation that is a fraction": Odd(make=lambda: in_exif(exif(6, kind=5))),
    "EXIF that is garbage": Odd(make=lambda: in_exif(b"Exif\0\0" + bytes(range(200)))),
    "EXIF of a header alone": Odd(make=lambda: in_exif(b"Exif\0\0MM\0*\xff\xff\xff\xff")),
    "an index of pictures that is garbage": Odd(
        make=lambda: with_segment(jpeg(), 0xE2, b"MPF\0MM\0*" + bytes(range(90)))
    ),
    "MPO": Odd(make=two_pictures),
    "progressive": Odd(make=lambda: jpeg(progressive=True)),
    "two hundred more scans": Odd(make=lambda: many_scans(jpeg(progressive=True), 200)),
    "grey": Odd(
        make=lambda: jpeg("L"),
        quarters=tuple((y, y, y) for y in (90, 131, 63, 203)),
    ),
    "CMYK of Adobe's": Odd(make=printed),
    "CMYK without Adobe's marker": Odd(make=plain_cmyk),
    "YCCK": Odd(make=ycck),
    "CMYK with a profile for RGB": Odd(make=lambda: printed(icc_profile=plain_profile())),
    "a profile that swaps colours": Odd(
        make=lambda: jpeg(icc_profile=swapped_profile()), quarters=SWAPPED, within=20
    ),
    "a profile that changes nothing": Odd(make=lambda: jpeg(icc_profile=plain_profile())),
    "half a profile": Odd(make=lambda: jpeg(icc_profile=swapped_profile()[:300])),
    "a profile of noise": Odd(make=lambda: jpeg(icc_profile=random.Random(7).randbytes(70_000))),
    "a grey picture with a profile for RGB": Odd(
        make=lambda: jpeg("L", icc_profile=swapped_profile()),
        quarters=tuple((y, y, y) for y in (90, 131, 63, 203)),
    ),
    "arithmetic coding": Odd(make=lambda: bare_jpeg(0xC9), size=(16, 16), quarters=None),
    "a kilobyte of garbage behind the end": Odd(
        make=lambda: jpeg() + random.Random(7).randbytes(1024)
    ),
    "HTML in a comment": Odd(make=lambda: with_segment(jpeg(), 0xFE, b"<script>1</script>")),
    "a thousand comments": Odd(make=lambda: with_comments(1000)),
    "a PDF behind the end": Odd(make=lambda: jpeg() + b"%PDF-1.7\n%%EOF"),
    "a header that says less than there is": Odd(
        make=lambda: resized_jpeg(jpeg(), 32, 24), size=(32, 24), quarters=flat(RED)
    ),
    "a header that says more than there is": Odd(
        # The end marker stands, so this is what every viewer shows: the rest stays grey.
        make=lambda: resized_jpeg(jpeg(), 2000, 2000),
        size=(2000, 2000),
        quarters=flat(GREY),
    ),
    "an end marker before the scan's end": Odd(
        make=lambda: jpeg()[:640] + b"\xff\xd9", quarters=flat(GREY)
    ),
    "progressive, of four inks, as large as may be": Odd(
        make=lambda: resized_jpeg(printed(progressive=True), 7071, 7071),
        size=(7071, 7071),
        quarters=None,
    ),
    **refused(
        "image_too_large",
        {"65,500 pixels square": lambda: resized_jpeg(jpeg(), 65_500, 65_500)},
    ),
    **refused(
        "invalid_image",
        {
            "no end marker": lambda: jpeg()[:-2],
            "no width": lambda: resized_jpeg(jpeg(), 0, 48),
            "no height": lambda: resized_jpeg(jpeg(), 64, 0),
            "12 bits": lambda: bare_jpeg(0xC1, precision=12),
            "lossless coding": lambda: bare_jpeg(0xC3),
            "progressive arithmetic coding without data": lambda: bare_jpeg(0xCA),
            "no quantisation tables": lambda: without_segment(without_segment(jpeg(), 0xDB), 0xDB),
            "three bytes of a JPEG": lambda: b"\xff\xd8\xff",
            "the first bytes and then zeros": lambda: b"\xff\xd8\xff".ljust(5000, b"\0"),
        },
    ),
}


def with_comments(count: int) -> bytes:
    """A JPEG with many comments."""
    data = jpeg()
    for _ in range(count):
        data = with_segment(data, 0xFE, b"x" * 100)
    return data
