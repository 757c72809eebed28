"""One child that decodes: start it, hand a picture in, take pixels out, end it."""

import fcntl
import mmap
import os
import socket
import subprocess
import sys
from typing import Final

from PIL import Image
from pydantic import BaseModel, ConfigDict, Field

from contracts.errors import ErrorCode
from pipeline.decode import Decoded
from pipeline.decode_child import LAYOUT, PIXEL_BYTES, READY, SEALS
from pipeline.errors import Refused


#: The search path only: a child shall hold no key of ours.
_INHERITED: Final = ("PATH", "PYTHONPATH")

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
        self._door, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self._door.settimeout(seconds)
        self._ready = False
        bounds = (os.getpid(), memory_bytes, max_pixels)
        with theirs:
            self._process = subprocess.Popen(  # noqa: S603 - our own module
                [sys.executable, "-Wignore", "-m", "pipeline.decode_child", *map(str, bounds)],
                stdin=theirs.fileno(),
                stdout=subprocess.DEVNULL,
                env={name: os.environ[name] for name in _INHERITED if name in os.environ},
            )

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
            self._ready = self._receive()[0] == READY
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
            self._send(data)
            line, pixels = self._receive()
        except TimeoutError as error:
            raise DecoderSilent from error
        except OSError as error:
            raise DecoderLost from error
        try:
            return read_answer(line, pixels, self._max_pixels)
        finally:
            if pixels is not None:
                os.close(pixels)

    def end(self) -> int:
        """Close the door and kill what does not leave by itself; its exit status."""
        self._door.close()
        try:
            return self._process.wait(_DYING_SECONDS)
        except subprocess.TimeoutExpired:
            self.kill()
            return self._process.wait()

    def kill(self) -> None:
        """End it at once; whoever waits for its answer hears `DecoderLost`."""
        self._process.kill()

    def _send(self, data: bytes) -> None:
        """Hand the bytes in as a file without a name."""
        file = os.memfd_create("picture")
        try:
            rest = memoryview(data)
            while rest:
                rest = rest[os.write(file, rest) :]
            os.lseek(file, 0, os.SEEK_SET)
            socket.send_fds(self._door, [b"f"], [file])
        finally:
            os.close(file)

    def _receive(self) -> tuple[bytes, int | None]:
        """Take one message; empty when the child has gone."""
        line, descriptors, _, _ = socket.recv_fds(
            self._door, _ANSWER_BYTES, 1, socket.MSG_CMSG_CLOEXEC
        )
        return line, descriptors[0] if descriptors else None


def read_answer(line: bytes, pixels: int | None, max_pixels: int) -> Decoded:
    """
    Take the picture out of an answer and the descriptor that came with it.

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
    size = (answer.width, answer.height)
    length = PIXEL_BYTES * answer.width * answer.height
    if pixels is None or not 0 < length <= PIXEL_BYTES * max_pixels:
        raise DecoderLost
    _check_sealed(pixels, length)
    # The mapping ends with the picture over it. Any buffer will do, though the stub wants bytes.
    rows = mmap.mmap(pixels, length, mmap.MAP_PRIVATE, mmap.PROT_READ)
    mapped = Image.frombuffer(LAYOUT, size, rows, "raw", LAYOUT, 0, 1)  # type: ignore[arg-type]
    return Decoded(mapped.convert("RGB"), answer.frames)


def _check_sealed(pixels: int, length: int) -> None:
    """Be sure that no child can cut the file short under our hands: reading on is a SIGBUS."""
    try:
        seals = fcntl.fcntl(pixels, fcntl.F_GET_SEALS)
    except OSError as error:
        raise DecoderLost from error
    if seals & SEALS != SEALS or os.fstat(pixels).st_size < length:
        raise DecoderLost
