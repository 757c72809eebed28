"""A stored result decided again by a child process: no GPU, no queue, nothing charged."""

import asyncio
from typing import Final, Literal
from uuid import UUID

from pydantic import BaseModel, ConfigDict

from adapters import objects
from api.problems import Problem
from s3_sam3.contracts.bodies import RethresholdRequest
from s3_sam3.contracts.errors import ErrorCode
from sandbox.child import SealedMemory
from sandbox.pool import Bounds, ChildLost, ChildPool


MAX_MANIFEST_BYTES: Final = 64 * 1024 * 1024
"""A few thousand masks with ragged edges; who has more decides a downloaded manifest again."""

_AT_ONCE: Final = 2
"""Children at one time; each may hold a manifest, and so does this process beside it."""

_BOUNDS: Final = Bounds(memory_bytes=2 * 1024**3, cpu_seconds=20, seconds=30)

_SHARED_BYTES: Final = 2 * MAX_MANIFEST_BYTES
"""For request and manifest on the way in, and the new manifest on the way out."""

_ENVIRONMENT: Final = {"OPENBLAS_NUM_THREADS": "1"}
"""Nothing here multiplies matrices, and each thread would reserve memory under the bound."""


class RethresholdFailed(Exception):
    """The child gave no answer, or the stored manifest is none."""


class _Answer(BaseModel):
    """What the child says; the text itself lies in the memory."""

    model_config = ConfigDict(extra="forbid", strict=True)

    ending: Literal["done", "refused", "unreadable"]
    size: int


class Rethresholder(ChildPool):
    """Runs the children, a few at a time and one for each manifest."""

    def __init__(self) -> None:
        self._room = asyncio.Semaphore(_AT_ONCE)
        super().__init__(
            "api.rethreshold_child",
            children=_AT_ONCE,
            bounds=_BOUNDS,
            shared_bytes=_SHARED_BYTES,
            reused=False,
            environment=_ENVIRONMENT,
        )

    async def rethreshold(
        self, store: objects.ObjectStore, key: str, task_id: UUID, request: RethresholdRequest
    ) -> bytes:
        """
        Decide the manifest under *key* again: a Rethresholded as JSON.

        Raises: Problem with NOT_FOUND, FILE_TOO_LARGE or INVALID_REQUEST; RethresholdFailed;
        NoChild.
        """
        # What is absent stays as it was asked first, so it must stay absent.
        wanted = request.model_dump_json(exclude_unset=True)
        asked = f'{{"task_id":"{task_id}","request":{wanted}}}\n'.encode()
        try:
            async with self._room:  # before a manifest is in memory
                manifest = await _fetch(store, key)
                answer, content = await self.run([asked, manifest], _read)
        except ChildLost:
            raise RethresholdFailed(f"{key}: the child was lost, most likely to a bound") from None
        if answer.ending == "refused":
            raise Problem(ErrorCode.INVALID_REQUEST, {"reason": content.decode()})
        if answer.ending == "unreadable":
            raise RethresholdFailed(f"{key}: {content.decode()}")
        return content


async def _fetch(store: objects.ObjectStore, key: str) -> bytes:
    try:
        return await store.get(key, max_bytes=MAX_MANIFEST_BYTES)
    except objects.ObjectNotFound:
        # Its row was just deleted.
        raise Problem(ErrorCode.NOT_FOUND) from None
    except objects.ObjectTooLarge:
        raise Problem(ErrorCode.FILE_TOO_LARGE, {"max_bytes": MAX_MANIFEST_BYTES}) from None


def _read(message: bytes, memory: SealedMemory) -> tuple[_Answer, bytes]:
    """Raises: ValueError."""
    answer = _Answer.model_validate_json(message)
    return answer, memory.read(answer.size)
