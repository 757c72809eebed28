"""Is this file a whole picture we serve, and how large is it? Asked of a child process."""

import asyncio
import json
import os
import sys
from dataclasses import dataclass
from typing import IO, Any, Final, Literal

from api.problems import Problem
from contracts import limits
from contracts.errors import ErrorCode


_SECONDS: Final = 30.0
"""Wall-clock bound of one inspection; the child's CPU bound is shorter."""

_AT_ONCE: Final = 2
"""Children at one time; each may hold a decoded picture."""

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
    """Runs the children, a few at a time."""

    def __init__(self, *, max_pixels: int) -> None:
        self._max_pixels = max_pixels
        self._room = asyncio.Semaphore(_AT_ONCE)

    async def inspect(self, file: IO[bytes]) -> Inspection:
        """
        Inspect *file*, which must lie on disk (it becomes the child's standard input).

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
        child = await asyncio.create_subprocess_exec(
            sys.executable,
            "-m",
            "api.inspection_child",
            str(self._max_pixels),
            stdin=file.fileno(),
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.DEVNULL,
            # The search path only: the child shall hold no key of ours.
            env={name: os.environ[name] for name in ("PATH", "PYTHONPATH") if name in os.environ},
        )
        try:
            async with asyncio.timeout(_SECONDS):
                output, _ = await child.communicate()
        except TimeoutError:
            output = b""
        finally:
            if child.returncode is None:
                child.kill()
                await child.wait()
        return _parsed(output)


def _parsed(output: bytes) -> dict[str, Any]:
    """Read the child's answer; a child that a bound ended has read no sound picture."""
    try:
        answer: dict[str, Any] = json.loads(output)
    except ValueError:
        return {"error": ErrorCode.INVALID_IMAGE.value}
    return answer
