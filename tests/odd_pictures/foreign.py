"""No picture of ours, too many bytes, and files that are cut off."""

import random
import struct
from collections.abc import Callable, Iterator
from functools import partial

from PIL import Image

from s3_sam3.contracts import limits

from .case import Odd, refused
from .making import PNG_HEAD, laced, quarters, saved


def jpeg() -> bytes:
    """The quarters as JPEG."""
    return saved(quarters(), "JPEG", quality=90, subsampling=0)


def _noise() -> Image.Image:
    """Much entropy, so that a cut hits pixels."""
    return Image.frombytes("RGB", (64, 48), random.Random(1).randbytes(64 * 48 * 3))


def _cuts() -> Iterator[tuple[str, Callable[[], bytes]]]:
    """Each kind of file, cut at several places."""
    kinds: dict[str, Callable[[], bytes]] = {
        "PNG": partial(saved, _noise(), "PNG"),
        "interlaced PNG": partial(laced, _noise()),
        "JPEG": partial(saved, _noise(), "JPEG"),
        "progressive JPEG": partial(saved, _noise(), "JPEG", progressive=True),
        "lossy WebP": partial(saved, _noise(), "WEBP"),
        "lossless WebP": partial(saved, _noise(), "WEBP", lossless=True),
        "animated WebP": partial(
            saved, _noise(), "WEBP", save_all=True, append_images=[quarters()], lossless=True
        ),
    }
    for kind, make in kinds.items():
        for share in (0.01, 0.3, 0.6, 0.95):
            yield f"{kind} cut at {share:.0%}", partial(_cut, make, share)


def _cut(make: Callable[[], bytes], share: float) -> bytes:
    """The first *share* of a file."""
    data = make()
    return data[: int(len(data) * share)]


PICTURES = {
    "exactly as many bytes as allowed": Odd(make=lambda: jpeg().ljust(limits.MAX_UPLOAD_BYTES)),
    **refused("empty_body", {"nothing": lambda: b""}),
    **refused(
        "file_too_large",
        {"one byte too many": lambda: jpeg().ljust(limits.MAX_UPLOAD_BYTES + 1)},
    ),
    **refused(
        "unsupported_media_type",
        {
            "one byte": lambda: b"\x89",
            "half a signature": lambda: PNG_HEAD[:5],
            "random bytes": lambda: random.Random(5).randbytes(4096),
            "GIF": lambda: saved(quarters(), "GIF"),
            "BMP": lambda: saved(quarters(), "BMP"),
            "TIFF": lambda: saved(quarters(), "TIFF"),
            "ICO": lambda: saved(quarters(), "ICO"),
            "AVIF": lambda: saved(quarters(), "AVIF"),
            "JPEG 2000": lambda: saved(quarters(), "JPEG2000"),
            "PSD": lambda: b"8BPS\0\1" + bytes(6) + struct.pack(">HIIHH", 3, 48, 64, 8, 3),
            "a PDF around a JPEG": lambda: b"%PDF-1.7\n" + jpeg(),
            "PostScript": lambda: b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 64 48\n",
            "SVG": lambda: b"<svg xmlns='http://www.w3.org/2000/svg'><script>1</script></svg>",
            "HTML before a JPEG": lambda: b"<!doctype html><script>1</script>" + jpeg(),
            "a zip archive of a JPEG": lambda: b"PK\3\4" + jpeg(),
            "a JPEG behind a space": lambda: b" " + jpeg(),
            "sound in RIFF": lambda: b"RIFF\x24\0\0\0WAVEfmt " + bytes(28),
        },
    ),
    **refused("invalid_image", dict(_cuts())),
}
