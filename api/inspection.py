"""Is this file a whole picture we serve, and how large is it? Asked of a child process."""

import asyncio
import json
import os
import socket
import sys
from dataclasses import dataclass
from typing import IO, Any, Final, Literal, Self

from api.problems import Problem
from s3_sam3.contracts import limits
from s3_sam3.contracts.errors import ErrorCode
from sandbox.confinement import hide


_SECONDS: Final = 30.0
"""Wall-clock bound of one inspection; the child's CPU bound is shorter."""

_AT_ONCE: Final = 2
"""Children at one time; each may hold a decoded picture."""

_INHERITED: Final = ("PATH", "PYTHONPATH")

_REFUSALS: Final = {
    code.value: code
    for code in (
        ErrorCode.IMAGE_TOO_LARGE,
        ErrorCode.INVALID_IMAGE,
        ErrorCode.UNSUPPORTED_MEDIA_TYPE,
    )
}

HEAD_BYTES: Final = 12
"""So many leading bytes tell a picture from anything else."""

Format = Literal["jpeg", "png", "webp"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Inspection:
    """What a sound picture is."""

    format: Format
    width: int
    """Pixels, EXIF orientation applied."""
    height: int
    """Pixels, EXIF orientation applied."""

    @property
    def content_type(self) -> str:
        """Its media type, from its bytes and not from what the sender said."""
        return limits.IMAGE_TYPES[self.format]


def looks_like_picture(head: bytes) -> bool:
    """Whether the first HEAD_BYTES are those of a JPEG, PNG or WebP file."""
    return head.startswith((b"\xff\xd8\xff", b"\x89PNG\r\n\x1a\n")) or (
        head.startswith(b"RIFF") and head[8:12] == b"WEBP"
    )


class Inspector:
    """
    Runs the children, a few at a time, one file each.

    Starting one takes longer than most pictures do, so the next one always waits, started.
    """

    def __init__(self, *, max_pixels: int) -> None:
        self._max_pixels = max_pixels
        self._room = asyncio.Semaphore(_AT_ONCE)
        self._next: asyncio.Task[_Child] | None = None

    async def __aenter__(self) -> Self:
        hide()
        self._next = asyncio.create_task(self._start())
        return self

    async def __aexit__(self, *_error: object) -> None:
        if self._next is not None:
            await (await self._next).end()

    async def inspect(self, file: IO[bytes]) -> Inspection:
        """
        Inspect *file*, which must lie on disk (the child gets its descriptor).

        Raises: Problem with IMAGE_TOO_LARGE, INVALID_IMAGE or UNSUPPORTED_MEDIA_TYPE.
        """
        file.flush()
        file.seek(0)
        async with self._room:
            answer = await self._ask(file)
        refusal = _REFUSALS.get(str(answer.pop("error", "")))
        if refusal is not None:
            details = {**answer, "max_pixels": self._max_pixels} if "width" in answer else answer
            raise Problem(refusal, details or None)
        return Inspection(**answer)

    async def _ask(self, file: IO[bytes]) -> dict[str, Any]:
        starting = self._next or asyncio.create_task(self._start())
        self._next = None
        child = await starting
        try:
            async with asyncio.timeout(_SECONDS):
                return _parsed(await child.answer(file.fileno()))
        except TimeoutError:
            return _parsed(b"")
        finally:
            await child.end()
            if self._next is None:
                self._next = asyncio.create_task(self._start())

    async def _start(self) -> "_Child":
        ours, theirs = socket.socketpair()
        with theirs:
            process = await asyncio.create_subprocess_exec(
                sys.executable,
                "-m",
                "api.inspection_child",
                str(self._max_pixels),
                stdin=theirs.fileno(),
                stdout=asyncio.subprocess.PIPE,
                stderr=asyncio.subprocess.DEVNULL,
                # The search path only: the child shall hold no key of ours.
                env={name: os.environ[name] for name in _INHERITED if name in os.environ},
            )
        return _Child(process=process, door=ours)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Child:
    """A started child that waits for the descriptor of its one file."""

    process: asyncio.subprocess.Process
    door: socket.socket

    async def answer(self, descriptor: int) -> bytes:
        """Hand the file in and read the answer; empty when a bound ended the child."""
        try:
            socket.send_fds(self.door, [b"f"], [descriptor])
        except OSError:
            return b""
        output, _ = await self.process.communicate()
        return output

    async def end(self) -> None:
        """Close the door; a child that still runs is killed."""
        self.door.close()
        if self.process.returncode is None:
            self.process.kill()
            await self.process.wait()


def _parsed(output: bytes) -> dict[str, Any]:
    """Read the child's answer; a child that a bound ended has read no sound picture."""
    try:
        answer: dict[str, Any] = json.loads(output)
    except ValueError:
        return {"error": ErrorCode.INVALID_IMAGE.value}
    return answer
