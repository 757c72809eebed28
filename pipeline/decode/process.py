"""
One child that decodes: start it, hand a picture in, take pixels out, end it.

Both ways a picture goes through one piece of memory without a name, which the kernel frees with
its last holder. It is kept for the next picture: to fill new pages takes longer than to copy.
"""

import fcntl
import mmap
import os
import socket
import subprocess
import sys
from contextlib import ExitStack
from typing import Final

from PIL import Image
from pydantic import BaseModel, ConfigDict, Field

from pipeline.decode.child import LAYOUT, PIXEL_BYTES, READY
from pipeline.decode.picture import Decoded
from pipeline.errors import Refused
from s3_sam3.contracts import limits
from s3_sam3.contracts.errors import ErrorCode


#: So much of the memory is kept between two pictures: 16 megapixels.
_KEPT_BYTES: Final = 67_108_864

#: Nobody makes it shorter while it is read here: that is a SIGBUS.
_SEALS: Final = fcntl.F_SEAL_SHRINK | fcntl.F_SEAL_GROW | fcntl.F_SEAL_SEAL

#: The search path only: a child shall hold no key of ours.
_INHERITED: Final = ("PATH", "PYTHONPATH")

#: Blocks of 16 MB that Pillow keeps for the next picture instead of asking for new pages.
_PILLOW: Final = {"PILLOW_BLOCKS_MAX": "4"}

_ANSWER_BYTES: Final = 4096

#: Seconds that a child which has closed its door gets to be gone.
_DYING_SECONDS: Final = 2.0

_NO_MEMORY: Final = "Decoding the picture takes more memory than one may. Send a smaller one."


class DecoderLost(Exception):
    """The child crashed, was killed, hung, or sent what it should not; it must be replaced."""


class DecoderSilent(DecoderLost):
    """The child did not answer in time."""


class _Answer(BaseModel):
    """What a child says beside the pixels; it may be in a stranger's hands."""

    model_config = ConfigDict(extra="forbid", strict=True)

    width: int = Field(default=0, ge=1)
    height: int = Field(default=0, ge=1)
    frames: int = Field(default=1, ge=1)
    error: str | None = None
    message: str = ""
    memory: bool = False


class DecodeProcess:
    """A child; its methods block, and one thread at a time may call them."""

    def __init__(self, *, memory_bytes: int, max_pixels: int, seconds: float) -> None:
        """Start it, without waiting until it is ready; it waits *seconds* for each answer."""
        self._max_pixels = max_pixels
        self._ready = False
        with ExitStack() as opened:  # closed again where it does not start
            self._memory = shared_memory(max(PIXEL_BYTES * max_pixels, limits.MAX_UPLOAD_BYTES))
            opened.callback(os.close, self._memory)
            self._door, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
            opened.callback(self._door.close)
            self._door.settimeout(seconds)
            numbers = (os.getpid(), self._memory, memory_bytes, max_pixels)
            with theirs:
                self._process = subprocess.Popen(  # noqa: S603 - our own module
                    [sys.executable, "-Wignore", "-m", "pipeline.decode.child", *map(str, numbers)],
                    stdin=theirs.fileno(),
                    stdout=subprocess.DEVNULL,
                    pass_fds=(self._memory,),
                    env=_environment(),
                )
            opened.pop_all()

    @property
    def pid(self) -> int:
        """Its process id."""
        return self._process.pid

    def await_ready(self) -> None:
        """
        Wait until it serves.

        Raises:
            DecoderLost: it ended, or ended while it was idle.

        """
        if not self._ready:
            self._ready = self._door.recv(_ANSWER_BYTES) == READY
        if not self._ready or self._process.poll() is not None:
            raise DecoderLost

    def decode(self, data: bytes) -> Decoded:
        """
        Have a picture decoded.

        Raises:
            Refused: the child refuses it.
            DecoderLost: the child did not survive it.

        """
        try:
            _fill(self._memory, data)
            self._door.send(str(len(data)).encode())
            line = self._door.recv(_ANSWER_BYTES)
        except TimeoutError as error:
            raise DecoderSilent from error
        except OSError as error:
            raise DecoderLost from error
        return read_answer(line, self._memory, self._max_pixels)

    def end(self) -> int:
        """Close the door and kill what does not leave by itself; its exit status."""
        self._door.close()
        os.close(self._memory)
        try:
            return self._process.wait(_DYING_SECONDS)
        except subprocess.TimeoutExpired:
            self.kill()
            return self._process.wait()

    def kill(self) -> None:
        """End it at once; whoever waits for its answer hears `DecoderLost`."""
        self._process.kill()


def _environment() -> dict[str, str]:
    """All that a child learns of ours."""
    return {name: os.environ[name] for name in _INHERITED if name in os.environ} | _PILLOW


def shared_memory(size: int) -> int:
    """Make memory of a length that nobody can change; give its descriptor."""
    memory = os.memfd_create("picture", os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING)
    try:
        os.truncate(memory, size)
        fcntl.fcntl(memory, fcntl.F_ADD_SEALS, _SEALS)
    except OSError:
        os.close(memory)
        raise
    return memory


def _fill(memory: int, data: bytes) -> None:
    """Put a picture's bytes at the beginning."""
    os.lseek(memory, 0, os.SEEK_SET)
    with os.fdopen(memory, "wb", closefd=False) as file:
        file.write(data)


def read_answer(line: bytes, memory: int, max_pixels: int) -> Decoded:
    """
    Take the picture that an answer speaks of out of memory.

    Raises:
        Refused: the answer says so.
        DecoderLost: it is none that an honest child gives.

    """
    try:
        answer = _Answer.model_validate_json(line)
        code = None if answer.error is None else ErrorCode(answer.error)
    except ValueError as error:
        raise DecoderLost from error
    if answer.memory:
        raise Refused(_NO_MEMORY, code=ErrorCode.IMAGE_TOO_LARGE)
    if code is not None:
        raise Refused(answer.message, code=code)
    if not 0 < answer.width * answer.height <= max_pixels:
        raise DecoderLost
    return Decoded(_copied(memory, answer.width, answer.height), answer.frames)


def _copied(memory: int, width: int, height: int) -> Image.Image:
    """Take the pixels; whatever the child does meanwhile, they are as many."""
    length = PIXEL_BYTES * width * height
    rows = mmap.mmap(memory, length)
    # Any buffer will do, though the stub wants bytes.
    mapped = Image.frombuffer(LAYOUT, (width, height), rows, "raw", LAYOUT, 0, 1)  # type: ignore[arg-type]
    picture = mapped.convert("RGB")
    if length > _KEPT_BYTES:
        rows.madvise(mmap.MADV_REMOVE, _KEPT_BYTES)
    return picture
