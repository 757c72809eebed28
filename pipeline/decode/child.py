"""
The child process that decodes pictures nobody has checked: `python -m pipeline.decode.child …`.

Its standard input is a socket, and one piece of memory is shared with the parent: the bytes of a
picture are in it when their number comes over the socket, and its pixels when the answer goes
back, a line of JSON. Whatever a hostile file does to a decoder, it does here: in a process with
bounds on memory and CPU time, no secret in its environment, no way to anybody else's
(`sandbox.confinement`), and nothing else to do. It imports Pillow and no torch.
"""

import ctypes
import json
import os
import resource
import signal
import socket
import sys
from typing import Any, Final

from PIL import (
    Image,
    TiffImagePlugin,  # noqa: F401 - EXIF wants it, and by then nothing can be imported
)

from pipeline.decode.picture import Decoded, decode
from pipeline.errors import Refused
from sandbox.confinement import confine


READY: Final = b"ready"

#: CPU seconds for one picture; the parent's bound is on the clock, and longer.
CPU_SECONDS: Final = 20

_SIZE_BYTES: Final = 32

_PR_SET_PDEATHSIG: Final = 1

#: Pillow's own layout of RGB, so that nobody need shift bytes about.
LAYOUT: Final = "RGBX"
PIXEL_BYTES: Final = 4

#: Rows go over in strips of about so many bytes: as much as malloc gives without new pages.
_STRIP_BYTES: Final = 65_536


def serve(door: socket.socket, memory: int, max_pixels: int) -> None:
    """Decode what comes, until the parent closes its end."""
    door.send(READY)
    while size := door.recv(_SIZE_BYTES):
        _allow_cpu()
        door.send(json.dumps(_answer(memory, int(size), max_pixels)).encode())


def _answer(memory: int, size: int, max_pixels: int) -> dict[str, Any]:
    """Put the pixels in the place of the bytes and say what they are, or why there are none."""
    try:
        decoded = decode(_read(memory, size), max_pixels=max_pixels)
        _write(memory, decoded.picture)
    except Refused as refusal:
        return {"error": refusal.code, "message": refusal.message}
    except MemoryError:
        return {"memory": True}
    return _described(decoded)


def _described(decoded: Decoded) -> dict[str, Any]:
    """What the parent must know to read the pixels."""
    width, height = decoded.picture.size
    return {"width": width, "height": height, "frames": decoded.frames}


def _read(memory: int, size: int) -> bytes:
    """Take the picture's bytes."""
    os.lseek(memory, 0, os.SEEK_SET)
    with os.fdopen(memory, "rb", buffering=0, closefd=False) as file:
        return file.read(size)


def _write(memory: int, picture: Image.Image) -> None:
    """Put the rows where the bytes were."""
    os.lseek(memory, 0, os.SEEK_SET)
    rows = max(1, _STRIP_BYTES // (PIXEL_BYTES * picture.width))
    with os.fdopen(memory, "wb", buffering=0, closefd=False) as file:
        for top in range(0, picture.height, rows):
            strip = picture.crop((0, top, picture.width, min(top + rows, picture.height)))
            file.write(strip.tobytes("raw", LAYOUT))


def _allow_cpu() -> None:
    """Grant the next picture its time; the bound counts from the process's birth."""
    used = resource.getrusage(resource.RUSAGE_SELF)
    seconds = int(used.ru_utime + used.ru_stime) + 1 + CPU_SECONDS
    resource.setrlimit(resource.RLIMIT_CPU, (seconds, resource.RLIM_INFINITY))


def _bound(parent: int, memory_bytes: int) -> None:
    """Take the bounds on; end with the parent, also when that is killed."""
    confine()
    # After it: the kernel forgets this when a process becomes another's.
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent:
        sys.exit()  # it was gone before it could be watched
    resource.setrlimit(resource.RLIMIT_AS, (memory_bytes, memory_bytes))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))


def main(parent: int, memory: int, memory_bytes: int, max_pixels: int) -> None:
    """Bound this process, then serve."""
    Image.MAX_IMAGE_PIXELS = None  # ours is checked; Pillow would only warn below it
    _bound(parent, memory_bytes)
    with socket.socket(fileno=os.dup(sys.stdin.fileno())) as door:
        serve(door, memory, max_pixels)


if __name__ == "__main__":
    main(*map(int, sys.argv[1:5]))
