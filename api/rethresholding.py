"""A stored result, cut anew by a child process: no GPU, no queue, nothing charged."""

import asyncio
import os
import sys
from typing import Final, Self
from uuid import UUID

from adapters import objects
from api.problems import Problem
from s3_sam3.contracts.bodies import RethresholdRequest
from s3_sam3.contracts.errors import ErrorCode
from sandbox.confinement import hide


MAX_MANIFEST_BYTES: Final = 64 * 1024 * 1024
"""A few thousand masks with ragged edges; whoever has more cuts a downloaded manifest."""

_AT_ONCE: Final = 2
"""Children at one time; each may hold a manifest, and so does this process beside it."""

_SECONDS: Final = 30.0
"""Wall-clock bound of one cut; the child's CPU bound is shorter."""

_INHERITED: Final = ("PATH", "PYTHONPATH")
_OWN: Final = {"OPENBLAS_NUM_THREADS": "1"}
"""Nothing here multiplies matrices, and each thread would reserve memory under the bound."""


class CutBrokeOffError(Exception):
    """The child gave no answer, or the manifest is none."""


class Rethresholder:
    """
    Runs the children, a few at a time, one manifest each.

    Starting one takes longer than most manifests do, so the next one always waits, started.
    """

    def __init__(self) -> None:
        self._room = asyncio.Semaphore(_AT_ONCE)
        self._next: asyncio.Task[asyncio.subprocess.Process] | None = None

    async def __aenter__(self) -> Self:
        hide()
        self._next = asyncio.create_task(_start())
        return self

    async def __aexit__(self, *_error: object) -> None:
        if self._next is not None:
            await _end(await self._next)

    async def rethreshold(
        self, store: objects.ObjectStore, key: str, task_id: UUID, request: RethresholdRequest
    ) -> bytes:
        """
        Cut the manifest under *key* anew: a Rethresholded as JSON.

        Raises: Problem with NOT_FOUND, FILE_TOO_LARGE or INVALID_REQUEST; CutBrokeOffError.
        """
        # What is absent stays as it was asked first, so it must stay absent.
        wanted = request.model_dump_json(exclude_unset=True)
        asked = f'{{"task_id":"{task_id}","request":{wanted}}}\n'.encode()
        async with self._room:
            manifest = await _read(store, key)
            word, _, rest = (await self._ask(asked, manifest)).partition(b"\n")
        if word == b"refused":
            raise Problem(ErrorCode.INVALID_REQUEST, {"reason": rest.decode()})
        if word != b"done":
            raise CutBrokeOffError(f"{key}: {rest.decode() or 'a bound ended the child'}")
        return rest

    async def _ask(self, asked: bytes, manifest: bytes) -> bytes:
        starting = self._next or asyncio.create_task(_start())
        self._next = None
        child = await starting
        try:
            async with asyncio.timeout(_SECONDS):
                output, _ = await child.communicate(asked + manifest)
                return output
        except TimeoutError:
            return b""
        finally:
            await _end(child)
            if self._next is None:
                self._next = asyncio.create_task(_start())


async def _read(store: objects.ObjectStore, key: str) -> bytes:
    try:
        return await store.get(key, max_bytes=MAX_MANIFEST_BYTES)
    except objects.ObjectNotFound:
        # Its row was just deleted.
        raise Problem(ErrorCode.NOT_FOUND) from None
    except objects.ObjectTooLarge:
        raise Problem(ErrorCode.FILE_TOO_LARGE, {"max_bytes": MAX_MANIFEST_BYTES}) from None


async def _start() -> asyncio.subprocess.Process:
    return await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "api.rethreshold_child",
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.DEVNULL,
        # The search path only: the child shall hold no key of ours.
        env={name: os.environ[name] for name in _INHERITED if name in os.environ} | _OWN,
    )


async def _end(child: asyncio.subprocess.Process) -> None:
    """Kill a child that still runs."""
    if child.returncode is None:
        child.kill()
        await child.wait()
