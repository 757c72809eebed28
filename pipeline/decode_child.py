"""
The child process that decodes pictures nobody has checked: `python -m pipeline.decode_child …`.

Its standard input is a socket. Over it comes a descriptor of one file after another; back go a
line of JSON and a descriptor of the pixels, sealed, so that whoever maps them may trust their
length. Whatever a hostile file does to a decoder, it does here: in a process with bounds on memory
and CPU time, no secret in its environment, and nothing else to do. It imports Pillow and no torch.
"""

import ctypes
import fcntl
import json
import os
import resource
import signal
import socket
import sys
from typing import Any, Final

from PIL import Image

from pipeline.decode import Decoded, decode
from pipeline.errors import Refused


READY: Final = b"ready"

#: CPU seconds for one picture; the parent's bound is on the clock, and longer.
CPU_SECONDS: Final = 20

#: What the parent insists on: the pixels neither change nor shrink once they are sent.
SEALS: Final = fcntl.F_SEAL_SHRINK | fcntl.F_SEAL_GROW | fcntl.F_SEAL_WRITE

_PR_SET_PDEATHSIG: Final = 1

#: Pillow's own layout of RGB, so that nobody need shift bytes about.
LAYOUT: Final = "RGBX"
PIXEL_BYTES: Final = 4

#: Rows go over in strips of about so many bytes: as much as malloc gives without new pages.
_STRIP_BYTES: Final = 65_536


def serve(door: socket.socket, max_pixels: int) -> None:
    """Decode what comes, until the parent closes its end."""
    door.send(READY)
    while True:
        _, descriptors, _, _ = socket.recv_fds(door, 1, 1)
        if not descriptors:
            return
        _allow_cpu()
        with open(descriptors[0], "rb") as file:  # noqa: PTH123 - it has no path
            answer, pixels = _answer(file.read(), max_pixels)
        line = json.dumps(answer).encode()
        if pixels is None:
            door.send(line)
            continue
        socket.send_fds(door, [line], [pixels])
        os.close(pixels)


def _answer(data: bytes, max_pixels: int) -> tuple[dict[str, Any], int | None]:
    """Give the pixels and what they are, or the refusal."""
    try:
        decoded = decode(data, max_pixels=max_pixels)
        pixels = _written(decoded.picture)
    except Refused as refusal:
        return {"error": refusal.code, "message": refusal.message}, None
    except MemoryError:
        return {"memory": True}, None
    return _described(decoded), pixels


def _described(decoded: Decoded) -> dict[str, Any]:
    """What the parent must know to read the pixels."""
    width, height = decoded.picture.size
    return {"width": width, "height": height, "frames": decoded.frames}


def _written(picture: Image.Image) -> int:
    """Write the rows into memory that has no name, so that nobody need remove it."""
    pixels = os.memfd_create("pixels", os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING)
    rows = max(1, _STRIP_BYTES // (PIXEL_BYTES * picture.width))
    for top in range(0, picture.height, rows):
        strip = picture.crop((0, top, picture.width, min(top + rows, picture.height)))
        _write_all(pixels, strip.tobytes("raw", LAYOUT))
    fcntl.fcntl(pixels, fcntl.F_ADD_SEALS, SEALS | fcntl.F_SEAL_SEAL)
    return pixels


def _write_all(descriptor: int, data: bytes) -> None:
    """Write until it is written: one call may take less."""
    rest = memoryview(data)
    while rest:
        rest = rest[os.write(descriptor, rest) :]


def _allow_cpu() -> None:
    """Grant the next picture its time; the bound counts from the process's birth."""
    used = resource.getrusage(resource.RUSAGE_SELF)
    seconds = int(used.ru_utime + used.ru_stime) + 1 + CPU_SECONDS
    resource.setrlimit(resource.RLIMIT_CPU, (seconds, resource.RLIM_INFINITY))


def _bound(parent: int, memory_bytes: int, max_pixels: int) -> None:
    """Take the bounds on; end with the parent, also when that is killed."""
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent:
        sys.exit()  # it was gone before it could be watched
    resource.setrlimit(resource.RLIMIT_AS, (memory_bytes, memory_bytes))
    pixel_bytes = PIXEL_BYTES * max_pixels
    resource.setrlimit(resource.RLIMIT_FSIZE, (pixel_bytes, pixel_bytes))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))


def main(parent: int, memory_bytes: int, max_pixels: int) -> None:
    """Bound this process, then serve."""
    Image.MAX_IMAGE_PIXELS = None  # ours is checked; Pillow would only warn below it
    _bound(parent, memory_bytes, max_pixels)
    with socket.socket(fileno=os.dup(sys.stdin.fileno())) as door:
        serve(door, max_pixels)


if __name__ == "__main__":
    main(*map(int, sys.argv[1:4]))
