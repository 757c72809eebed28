"""Any colours that a file may hold, converted to eight bits of sRGB on white."""

from functools import lru_cache
from io import BytesIO
from itertools import chain, product
from typing import Final

from PIL import Image, ImageChops, ImageCms


#: Colour of transparent pixels; dropping alpha instead would show the colour stored beneath it.
_BACKGROUND: Final = (255, 255, 255)

#: Mode → the colour space that its profile must have, in ICC's spelling.
_SPACES: Final = {"L": "GRAY", "RGB": "RGB ", "CMYK": "CMYK"}

#: A profile that changes no probe by more than this (of 255) counts as sRGB, under any name.
_SAME: Final = 1

#: Bits per sample → the factor that scales a sample to 0..255; Pillow scales one bit itself.
_STEPS: Final = {1: 1, 2: 85, 4: 17, 8: 1, 16: 1 / 257}
_DEEP: Final = 16


def to_rgb(picture: Image.Image, *, depth: int = 8) -> Image.Image:
    """
    Convert a loaded picture to three bytes of sRGB per pixel.

    16 bits are scaled to 8; palettes are looked up; a profile is applied if it is valid and not
    sRGB itself; alpha and PNG's transparent colour become white. *depth* is PNG's bits per sample:
    a transparent colour is given in them, and Pillow does not tell them.
    """
    profile = picture.info.get("icc_profile")
    colour, alpha = _parts(picture, depth)
    del picture  # at the pixel limit every copy is 200 MB
    colour = _to_srgb(colour, profile)
    if alpha is None:
        return colour
    ground = Image.new("RGB", colour.size, _BACKGROUND)
    ground.paste(colour, mask=alpha)
    return ground


def _parts(picture: Image.Image, depth: int) -> tuple[Image.Image, Image.Image | None]:
    """Split into colour (L, RGB or CMYK) and alpha (L, or None: opaque)."""
    key = picture.info.get("transparency")
    if picture.mode == "P":
        looked_up = picture.convert("RGB" if key is None else "RGBA")
        return (looked_up, None) if key is None else _split(looked_up, "RGB")
    if picture.mode in {"LA", "La"}:
        return _split(picture, "L")
    if picture.mode in {"RGBA", "PA", "RGBa"}:
        return _split(picture.convert("RGBA"), "RGB")
    colour = _eight_bits(picture)
    return colour, None if key is None else _keyed(colour, key, depth)


def _split(picture: Image.Image, mode: str) -> tuple[Image.Image, Image.Image]:
    return picture.convert(mode), picture.getchannel("A")


def _eight_bits(picture: Image.Image) -> Image.Image:
    """One byte per sample, without alpha."""
    if picture.mode.startswith("I"):
        # Pillow's own conversion clips at 255 and gives white.
        return picture.point(lambda value: value * (1 / 257) + 0.5).convert("L")
    if picture.mode == "1":
        return picture.convert("L")
    if picture.mode == "CMYK" and picture.format == "JPEG" and "adobe" not in picture.info:
        # Pillow takes every CMYK JPEG for one of Adobe's, which are inverted and carry a mark.
        return ImageChops.invert(picture)
    return picture if picture.mode in _SPACES else picture.convert("RGB")


def _keyed(colour: Image.Image, key: object, depth: int) -> Image.Image | None:
    """Alpha of a PNG with one transparent colour, compared at eight bits."""
    samples = key if isinstance(key, tuple) else (key,)
    bands = colour.split()
    if len(samples) != len(bands) or not all(isinstance(sample, int) for sample in samples):
        return None
    differs = [
        band.point(
            [0 if value == _key_byte(sample, depth, colour.mode) else 255 for value in range(256)]
        )
        for band, sample in zip(bands, samples, strict=True)
    ]
    alpha = differs[0]
    for band in differs[1:]:
        alpha = ImageChops.lighter(alpha, band)
    return alpha


def _key_byte(sample: int, depth: int, mode: str) -> int:
    """Convert one sample of a transparent colour to eight bits, as its picture was converted."""
    if mode == "RGB" and depth == _DEEP:
        return sample >> 8  # Pillow takes the upper byte of colours, without rounding
    return int(sample * _STEPS.get(depth, 1) + 0.5) & 255


def _to_srgb(colour: Image.Image, profile: object) -> Image.Image:
    """Apply the profile; without a usable one the numbers count as sRGB."""
    transform = _transform(profile, colour.mode) if isinstance(profile, bytes) else None
    if transform is None:
        return colour if colour.mode == "RGB" else colour.convert("RGB")
    converted = ImageCms.applyTransform(colour, transform, inPlace=colour.mode == "RGB")
    return converted or colour  # in place it returns None


@lru_cache(maxsize=8)
def _transform(profile: bytes, mode: str) -> ImageCms.ImageCmsTransform | None:
    """Read a profile; None if it is damaged, of another colour space, or sRGB in effect."""
    try:
        source = ImageCms.ImageCmsProfile(BytesIO(profile))
        if source.profile.xcolor_space != _SPACES[mode]:
            return None
        transform = ImageCms.buildTransform(
            source,
            ImageCms.createProfile("sRGB"),
            mode,
            "RGB",
            renderingIntent=ImageCms.Intent.PERCEPTUAL,
        )
        return None if _changes_nothing(transform, mode) else transform
    except (ImageCms.PyCMSError, OSError, TypeError, ValueError):
        return None


def _changes_nothing(transform: ImageCms.ImageCmsTransform, mode: str) -> bool:
    """Whether a grid of colours stays as it is; then no pixels need to be converted."""
    if mode == "CMYK":
        return False
    grid = bytes(chain.from_iterable(product(range(0, 256, 15), repeat=len(mode))))
    probe = Image.frombytes(mode, (len(grid) // len(mode), 1), grid)
    moved = ImageCms.applyTransform(probe, transform)
    assert moved is not None  # noqa: S101 - it returns None only in place
    return max(ImageChops.difference(probe.convert("RGB"), moved).tobytes()) <= _SAME
