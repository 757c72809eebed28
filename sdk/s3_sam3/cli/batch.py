"""Many pictures in one call: some at a time, none twice; one that fails stops no other."""

import asyncio
import errno
import hashlib
import json
import time
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Final
from uuid import UUID

import tenacity

from s3_sam3 import (
    ApiError,
    NotSignedIn,
    S3Client,
    S3Error,
    SignInFailed,
    TaskCancelled,
    TaskFailed,
    Unreachable,
)
from s3_sam3.cli import batch_folder
from s3_sam3.cli.batch_folder import BatchFolder, Record, State
from s3_sam3.contracts import bodies
from s3_sam3.contracts.errors import ErrorCode
from s3_sam3.contracts.prompts import Prompt, SegmentOptions


RATE_LIMITED_SECONDS = 3600.0
"""How long to retry a submit while too many of the user's tasks are pending."""

_NO_MORE_FILES: Final = {errno.ENOSPC, errno.EDQUOT, errno.EROFS}
"""Errors that the next picture's files would meet too."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    prompts: tuple[Prompt, ...]
    options: SegmentOptions
    needs: bodies.Needs | None = None
    deadline: int | None = None
    """Seconds."""
    timeout: float | None = None
    """Seconds to wait for a task; the service is not told."""

    @property
    def digest(self) -> str:
        """Identifies the request without its picture."""
        request = {
            "prompts": [prompt.model_dump(mode="json") for prompt in self.prompts],
            "options": self.options.model_dump(mode="json"),
            "needs": self.needs and self.needs.model_dump(mode="json"),
            "deadline": self.deadline,
        }
        return hashlib.sha256(json.dumps(request, sort_keys=True).encode()).hexdigest()


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    picture: Path
    record: Record | None = None
    """None: the file could not be read, or was not begun."""
    folder: Path | None = None
    before: bool = False
    """An earlier call did it."""
    error: str | None = None

    @property
    def done(self) -> bool:
        return self.record is not None and self.record.state is State.DONE


@dataclass(slots=True, kw_only=True)
class Batch:
    """One call. `rows` has the pictures that ended; `stopped` says why no more were begun."""

    folder: BatchFolder
    request: Request
    rows: list[Row] = field(default_factory=list)
    stopped: S3Error | None = None

    async def run(
        self,
        s3: S3Client,
        pictures: Sequence[Path],
        *,
        jobs: int,
        on_row: Callable[[Row], None],
    ) -> None:
        """Segment *pictures*, at most *jobs* at a time; report each as it ends."""
        left = deque(pictures)

        async def work() -> None:
            while left and self.stopped is None:
                row = await self._one(s3, left.popleft())
                self.rows.append(row)
                on_row(row)

        async with asyncio.TaskGroup() as group:
            for _ in range(min(jobs, len(pictures))):
                group.create_task(work())
        self.rows += [Row(picture=picture, error="not begun") for picture in left]

    async def _one(self, s3: S3Client, picture: Path) -> Row:
        """Give one picture's row, whatever happens: its fault must not cost the others' results."""
        try:
            return await self._row(s3, picture)
        except OSError as error:
            reason = f"cannot be kept: {error.strerror or error}"
            if error.errno in _NO_MORE_FILES:
                self.stopped = S3Error(f"The files of {picture.name} {reason}.")
            return Row(picture=picture, error=reason)
        except Exception as error:  # noqa: BLE001 - whatever it is, the others go on
            return Row(picture=picture, error=f"{type(error).__name__}: {error}")

    async def _row(self, s3: S3Client, picture: Path) -> Row:
        began = time.perf_counter()
        try:
            data = await asyncio.to_thread(picture.read_bytes)
        except OSError as error:
            return Row(picture=picture, error=f"cannot be read: {error.strerror}")
        folder, record = self._known(picture, hashlib.sha256(data).hexdigest())
        row = Row(picture=picture, record=record, folder=folder)
        if record.state is State.DONE:
            return replace(row, before=True)
        record = await self._segment(s3, data, folder, record)
        record = record.with_(seconds=round(time.perf_counter() - began, 3))
        batch_folder.write(folder, record)
        return replace(row, record=record, error=record.error)

    def _known(self, picture: Path, sha256: str) -> tuple[Path, Record]:
        """Give a picture's folder and its record there, which is written at once."""
        folder = self.folder.folder_of(picture, sha256)
        fresh = Record(picture=picture.resolve(), sha256=sha256, request=self.request.digest)
        known = batch_folder.read(folder)
        if known is None or (known.sha256, known.request) != (fresh.sha256, fresh.request):
            known = fresh
        done = known.state is State.DONE and batch_folder.is_complete(folder)
        state = State.DONE if done else State.STARTED
        known = known.with_(picture=fresh.picture, state=state, error=None)
        batch_folder.write(folder, known)
        return folder, known

    async def _segment(self, s3: S3Client, data: bytes, folder: Path, record: Record) -> Record:
        """Submit unless that was done, wait, download; give the record of how it ended."""
        try:
            task_id = record.task_id
            if task_id is None:
                task_id = await self._submit(s3, data, self.folder.idempotency_key(record))
                record = record.with_(task_id=task_id)
                batch_folder.write(folder, record)
            await s3.wait(task_id, timeout_seconds=self.request.timeout)
            found = await s3.fetch(task_id)
        except S3Error as error:
            if _stops_all(error):
                self.stopped = error
            return _failed(record, error)
        await asyncio.to_thread(found.save, folder)
        return record.with_(
            state=State.DONE,
            credits=found.result.credits_charged,
            demo=found.manifest.model.demo,
            instances={
                prompt.text or prompt.id: len(prompt.instances) for prompt in found.manifest.prompts
            },
        )

    async def _submit(self, s3: S3Client, data: bytes, key: str) -> UUID:
        upload = await s3.upload(data)
        async for attempt in _WHILE_RATE_LIMITED.copy():
            with attempt:
                task = await s3.submit(
                    upload.image_url,
                    *self.request.prompts,
                    options=self.request.options,
                    needs=self.request.needs,
                    deadline_seconds=self.request.deadline,
                    idempotency_key=key,
                )
                return task.task_id
        raise AssertionError  # tenacity re-raises the last error


def _failed(record: Record, error: S3Error) -> Record:
    """
    Note an error in the record.

    A task that ended badly or is gone would be found again by its key, so the next try gets a new
    key; a task that may still go on keeps its own.
    """
    changes: dict[str, Any] = {"state": State.FAILED, "error": str(error)}
    if _is_over(error):
        changes |= {"attempt": record.attempt + 1, "task_id": None}
    return record.with_(**changes)


def _is_over(error: S3Error) -> bool:
    gone = {ErrorCode.NOT_FOUND, ErrorCode.IDEMPOTENCY_CONFLICT}
    return isinstance(error, TaskFailed | TaskCancelled) or (
        isinstance(error, ApiError) and error.code in gone
    )


def _stops_all(error: S3Error) -> bool:
    """Whether the next picture would fail in the same way."""
    codes = {ErrorCode.UNAUTHENTICATED, ErrorCode.TOKEN_EXPIRED, ErrorCode.INSUFFICIENT_CREDITS}
    return isinstance(error, NotSignedIn | SignInFailed | Unreachable) or (
        isinstance(error, ApiError) and error.code in codes
    )


def _is_rate_limited(error: BaseException) -> bool:
    return isinstance(error, ApiError) and error.code is ErrorCode.RATE_LIMITED


_WHILE_RATE_LIMITED = tenacity.AsyncRetrying(
    retry=tenacity.retry_if_exception(_is_rate_limited),
    wait=tenacity.wait_random_exponential(multiplier=0.5, max=15),
    stop=tenacity.stop_after_delay(RATE_LIMITED_SECONDS),
    reraise=True,
)
