"""Files put together byte by byte, where no library would write them so."""

import struct
import zlib
from io import BytesIO
from typing import Any

from PIL import Image, ImageChops, ImageCms


RED, GREEN, BLUE, YELLOW = (230, 30, 30), (30, 200, 40), (30, 50, 220), (240, 220, 20)

PNG_HEAD = b"\x89PNG\r\n\x1a\n"


def quarters(width: int = 64, height: int = 48, mode: str = "RGB") -> Image.Image:
    """Red and green above blue and yellow: each turn and each swapped channel shows."""
    picture = Image.new("RGB", (width, height), RED)
    picture.paste(GREEN, (width // 2, 0, width, height // 2))
    picture.paste(BLUE, (0, height // 2, width // 2, height))
    picture.paste(YELLOW, (width // 2, height // 2, width, height))
    return picture.convert(mode)


def saved(picture: Image.Image, form: str, **options: Any) -> bytes:
    """The picture's bytes in a format."""
    stream = BytesIO()
    picture.save(stream, form, **options)
    return stream.getvalue()


def chunk(kind: bytes, body: bytes, *, wrong: int = 0) -> bytes:
    """One chunk of a PNG, with a checksum that is *wrong* by so much."""
    checksum = zlib.crc32(kind + body) ^ wrong
    return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", checksum)


def ihdr(width: int, height: int, *, depth: int = 8, colour: int = 2, lace: int = 0) -> bytes:
    """A PNG's header."""
    return chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, depth, colour, 0, 0, lace))


def png(head: bytes, rows: bytes, *extra: bytes) -> bytes:
    """A PNG of a header, chunks, and rows with their filter bytes."""
    idat = chunk(b"IDAT", zlib.compress(rows, 9))
    return PNG_HEAD + head + b"".join(extra) + idat + chunk(b"IEND", b"")


def flat_png(width: int, height: int, row: bytes, *extra: bytes, **header: int) -> bytes:
    """A PNG of one row, repeated; a few kilobytes however large it is."""
    packer = zlib.compressobj(9)
    line = b"\0" + row
    packed = b"".join(packer.compress(line) for _ in range(height)) + packer.flush()
    head = ihdr(width, height, **header)
    return PNG_HEAD + head + b"".join(extra) + chunk(b"IDAT", packed) + chunk(b"IEND", b"")


def zeros(size: int) -> bytes:
    """So many zeros, deflated."""
    packer = zlib.compressobj(9)
    block = bytes(1 << 20)
    return b"".join(packer.compress(block) for _ in range(size >> 20)) + packer.flush()


def behind_header(data: bytes, *chunks: bytes) -> bytes:
    """A PNG with chunks put in behind its header."""
    return data[:33] + b"".join(chunks) + data[33:]


def segment(marker: int, body: bytes) -> bytes:
    """One segment of a JPEG."""
    return struct.pack(">BBH", 0xFF, marker, len(body) + 2) + body


def with_segment(data: bytes, marker: int, body: bytes) -> bytes:
    """A JPEG with a segment put in behind its beginning."""
    return data[:2] + segment(marker, body) + data[2:]


def without_segment(data: bytes, marker: int) -> bytes:
    """A JPEG without the first segment of a kind."""
    place = data.index(bytes((0xFF, marker)))
    length = struct.unpack_from(">H", data, place + 2)[0]
    return data[:place] + data[place + 2 + length :]


def frame_at(data: bytes) -> int:
    """Where a JPEG's frame header begins."""
    places = [data.find(bytes((0xFF, marker, 0))) for marker in (0xC0, 0xC1, 0xC2)]
    return min(place for place in places if place > 0)


def resized_jpeg(data: bytes, width: int, height: int) -> bytes:
    """A JPEG whose header lies about its size."""
    place = frame_at(data) + 5
    return data[:place] + struct.pack(">HH", height, width) + data[place + 4 :]


def many_scans(data: bytes, count: int) -> bytes:
    """A progressive JPEG whose last scan comes *count* times more."""
    scan = data[data.rindex(b"\xff\xda") : -2]
    return data[:-2] + scan * count + b"\xff\xd9"


def bare_jpeg(frame: int, *, precision: int = 8) -> bytes:
    """A grey JPEG of 16 x 16 pixels, coded as *frame* says, with nearly no data."""
    tables = segment(0xDB, b"\0" + bytes([16] * 64))
    header = segment(frame, struct.pack(">BHHB", precision, 16, 16, 1) + b"\x01\x11\x00")
    scan = segment(0xDA, b"\x01\x01\x00\x00\x3f\x00")
    return b"\xff\xd8" + tables + header + scan + bytes(64) + b"\xff\xd9"


def ycck() -> bytes:
    """The quarters as Adobe stores YCCK: inverted inks, three of them as YCbCr, black beside."""
    # libjpeg gives 255 - (the RGB of YCbCr) for the inks, Pillow inverts all: what is left is that
    # RGB as cyan, magenta and yellow. So the samples are the YCbCr of the wanted inks.
    inks = quarters(mode="CMYK").split()
    samples = Image.merge("RGB", inks[:3]).convert("YCbCr").split()
    stored = Image.merge("CMYK", [ImageChops.invert(band) for band in samples] + [inks[3]])
    data = saved(stored, "JPEG", quality=95, subsampling=0)
    place = data.index(b"Adobe") + 11
    return data[:place] + b"\x02" + data[place + 1 :]


def exif(orientation: int, *, kind: int = 3, count: int = 1, following: int = 0) -> bytes:
    """An EXIF block of one tag; *following* is where the next directory is said to be."""
    value = orientation << 16 if kind == 3 else orientation
    entry = struct.pack(">HHII", 0x0112, kind, count, value)
    return b"Exif\0\0MM\0*" + struct.pack(">IH", 8, 1) + entry + struct.pack(">I", following)


def webp(*chunks: tuple[bytes, bytes], size: int | None = None) -> bytes:
    """A WebP of chunks, whose length may be a lie."""
    body = b"WEBP" + b"".join(
        kind + struct.pack("<I", len(data)) + data + bytes(len(data) % 2) for kind, data in chunks
    )
    return b"RIFF" + struct.pack("<I", len(body) if size is None else size) + body


def canvas(width: int, height: int, flags: int = 0) -> tuple[bytes, bytes]:
    """The chunk in which an extended WebP says how large it is."""
    sides = (width - 1).to_bytes(3, "little") + (height - 1).to_bytes(3, "little")
    return b"VP8X", bytes((flags, 0, 0, 0)) + sides


def laced(picture: Image.Image) -> bytes:
    """An interlaced PNG: Adam7's seven passes, each row without a filter."""
    left, width, height = b"", *picture.size
    passes = ((0, 0, 8, 8), (4, 0, 8, 8), (0, 4, 4, 8), (2, 0, 4, 4), (0, 2, 2, 4), (1, 0, 2, 2))
    for x, y, right, down in (*passes, (0, 1, 1, 2)):
        for row in range(y, height, down):
            line = picture.crop((0, row, width, row + 1)).tobytes()
            pixels = [line[3 * place : 3 * place + 3] for place in range(x, width, right)]
            left += b"\0" + b"".join(pixels)
    return png(ihdr(width, height, lace=1), left)


def swapped_profile() -> bytes:
    """The profile of sRGB, with red and blue in each other's place."""
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    return profile.replace(b"rXYZ", b"????").replace(b"bXYZ", b"rXYZ").replace(b"????", b"bXYZ")


def plain_profile() -> bytes:
    """The profile of sRGB itself."""
    return ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
