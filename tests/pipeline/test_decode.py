"""Bytes nobody has checked become an upright RGB picture, or a clear refusal."""

import contextlib
import struct
import zlib
from io import BytesIO
from typing import Any

import numpy as np
import pytest
from PIL import Image

from pipeline.decode.child import decode
from pipeline.errors import Refused
from s3_sam3.contracts.errors import ErrorCode


def saved(picture: Image.Image, form: str, **options: Any) -> bytes:
    """The picture's bytes in a format."""
    stream = BytesIO()
    picture.save(stream, form, **options)
    return stream.getvalue()


def gradient(width: int = 40, height: int = 30) -> Image.Image:
    """A colourful picture."""
    y, x = np.mgrid[0:height, 0:width]
    pixels = np.stack([x * 255 // width, y * 255 // height, (x + y) % 256], axis=2)
    return Image.fromarray(pixels.astype(np.uint8))


def picture_of(data: bytes, **options: Any) -> Image.Image:
    """The picture in *data*."""
    return decode(data, **options).picture


def refused(data: bytes, **options: Any) -> ErrorCode:
    """The code *data* is refused with."""
    with pytest.raises(Refused) as caught:
        decode(data, **options)
    return caught.value.code


@pytest.mark.parametrize("form", ["JPEG", "PNG", "WEBP"])
def test_the_three_formats_are_decoded(form: str) -> None:
    """JPEG, PNG and WebP give RGB of the right size."""
    picture = picture_of(saved(gradient(), form))
    assert (picture.mode, picture.size) == ("RGB", (40, 30))


@pytest.mark.parametrize("form", ["GIF", "BMP", "TIFF", "PPM"])
def test_other_formats_are_refused(form: str) -> None:
    """Whatever else Pillow could read is not read."""
    assert refused(saved(gradient(), form)) is ErrorCode.UNSUPPORTED_MEDIA_TYPE


@pytest.mark.parametrize("data", [b"%PDF-1.7", b"<svg xmlns=''/>", b"\x00" * 100, b"RIFF1234WAVE"])
def test_other_bytes_are_refused(data: bytes) -> None:
    """Bytes without a known beginning are no picture."""
    assert refused(data) is ErrorCode.UNSUPPORTED_MEDIA_TYPE


def test_nothing_is_refused_as_empty() -> None:
    """No bytes are an empty body."""
    assert refused(b"") is ErrorCode.EMPTY_BODY


@pytest.mark.parametrize("form", ["JPEG", "PNG", "WEBP"])
@pytest.mark.parametrize("share", [0.1, 0.5, 0.9])
def test_cut_off_pictures_are_invalid(form: str, share: float) -> None:
    """A picture that ends early is refused, never half grey."""
    data = saved(gradient(200, 200), form)
    assert refused(data[: int(len(data) * share)]) is ErrorCode.INVALID_IMAGE


@pytest.mark.parametrize("form", ["JPEG", "PNG", "WEBP"])
def test_damaged_pictures_are_refused_or_decoded(form: str) -> None:
    """No damage, wherever it lies, raises anything but a refusal."""
    data = bytearray(saved(gradient(64, 64), form))
    random = np.random.default_rng(0)
    for _ in range(150):
        hurt = bytearray(data)
        for place in random.integers(8, len(data), 3):
            hurt[place] = random.integers(0, 256)
        with contextlib.suppress(Refused):
            decode(bytes(hurt))


def chunk(kind: bytes, body: bytes) -> bytes:
    """One chunk of a PNG."""
    return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))


def test_a_bomb_is_refused_by_its_header() -> None:
    """A PNG that claims 100,000 x 100,000 pixels is refused without being decoded."""
    header = struct.pack(">IIBBBBB", 100_000, 100_000, 8, 2, 0, 0, 0)
    bomb = b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(b"\0"))
    assert refused(bomb + chunk(b"IEND", b"")) in {
        ErrorCode.IMAGE_TOO_LARGE,
        ErrorCode.INVALID_IMAGE,
    }


def test_the_pixel_limit_is_exact() -> None:
    """As many pixels as allowed pass, one column more does not."""
    data = saved(gradient(40, 30), "PNG")
    assert picture_of(data, max_pixels=1200).size == (40, 30)
    assert refused(data, max_pixels=1199) is ErrorCode.IMAGE_TOO_LARGE


def test_exif_orientation_is_applied() -> None:
    """A picture stored sideways comes out upright, for each of the eight orientations."""
    upright = gradient(40, 30)
    for orientation, turn in {
        1: None,
        2: Image.Transpose.FLIP_LEFT_RIGHT,
        3: Image.Transpose.ROTATE_180,
        4: Image.Transpose.FLIP_TOP_BOTTOM,
        5: Image.Transpose.TRANSPOSE,
        6: Image.Transpose.ROTATE_90,
        7: Image.Transpose.TRANSVERSE,
        8: Image.Transpose.ROTATE_270,
    }.items():
        exif = Image.Exif()
        exif[0x0112] = orientation
        stored = upright if turn is None else upright.transpose(turn)
        picture = picture_of(saved(stored, "PNG", exif=exif))
        assert np.array_equal(np.asarray(picture), np.asarray(upright)), orientation


def test_damaged_exif_is_ignored() -> None:
    """A picture is not refused for its metadata."""
    assert picture_of(saved(gradient(), "JPEG", exif=b"Exif\x00\x00garbage")).size == (40, 30)


def test_transparency_is_laid_on_white() -> None:
    """What cannot be seen does not show its hidden colour."""
    clear = Image.new("RGBA", (4, 4), (255, 0, 0, 0))
    assert picture_of(saved(clear, "PNG")).getpixel((0, 0)) == (255, 255, 255)
    palette = Image.new("P", (4, 4), 3)
    palette.putpalette([255, 0, 0] * 8)
    assert picture_of(saved(palette, "PNG", transparency=3)).getpixel((0, 0)) == (255, 255, 255)
    assert picture_of(saved(palette, "PNG")).getpixel((0, 0)) == (255, 0, 0)


def test_16_bit_grey_is_scaled() -> None:
    """Half of 65,535 is a middle grey, not white."""
    deep = Image.fromarray(np.full((4, 4), 32896, np.uint16))
    assert picture_of(saved(deep, "PNG")).getpixel((0, 0)) == (128, 128, 128)


@pytest.mark.parametrize("mode", ["1", "L", "LA", "CMYK"])
def test_other_colour_spaces_become_rgb(mode: str) -> None:
    """Bilevel, grey, grey with alpha, and printers' colours."""
    form = "JPEG" if mode == "CMYK" else "PNG"
    assert picture_of(saved(gradient().convert(mode), form)).mode == "RGB"


def test_the_first_frame_of_an_animation_counts() -> None:
    """An animated WebP is its first frame."""
    frames = [Image.new("RGB", (8, 8), colour) for colour in ("red", "blue")]
    data = saved(frames[0], "WEBP", save_all=True, append_images=frames[1:], lossless=True)
    assert picture_of(data).getpixel((0, 0)) == (255, 0, 0)


def test_one_pixel_is_a_picture() -> None:
    """The smallest picture passes."""
    assert picture_of(saved(Image.new("RGB", (1, 1)), "PNG")).size == (1, 1)
