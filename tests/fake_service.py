"""A service in memory with faults: uploads, tasks by idempotency key, answers."""

import asyncio
import hashlib
import uuid
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

from drawn_manifests import disc, manifest

from s3_sam3 import S3Client, Segmentation
from s3_sam3.contracts import bodies
from s3_sam3.contracts.manifest import Manifest
from s3_sam3.contracts.prompts import Prompt, SegmentOptions
from s3_sam3.contracts.tasks import MediaKind, TaskStatus


FOUND = manifest(dog=[disc((64, 48), (20, 20), 9)])


class FakeService(S3Client):
    """
    Gives one task per idempotency key.

    `before_submit` and `before_wait` may raise; `together` is a barrier for waiting callers.
    """

    def __init__(self) -> None:
        self.tasks: dict[str, uuid.UUID] = {}
        self.together: asyncio.Barrier | None = None
        self.most_at_once = 0
        self.before_submit: Callable[[str], None] = lambda image_url: None
        self.before_wait: Callable[[uuid.UUID], None] = lambda task_id: None
        self._at_once = 0

    async def upload(self, picture: str | Path | bytes) -> bodies.Upload:
        """Name the bytes by their digest."""
        assert isinstance(picture, bytes)
        return bodies.Upload(
            image_url=hashlib.sha256(picture).hexdigest(),
            kind=MediaKind.IMAGE,
            content_type="image/png",
            width=64,
            height=48,
            bytes=len(picture),
            sha256=hashlib.sha256(picture).hexdigest(),
        )

    async def submit(
        self,
        image_url: str,
        *prompts: str | Prompt,
        options: SegmentOptions | None = None,
        project_id: uuid.UUID | None = None,
        deadline_seconds: int | None = None,
        needs: bodies.Needs | None = None,
        idempotency_key: str | None = None,
    ) -> bodies.Task:
        """Give the task of that key, a new one for a new key."""
        self.before_submit(image_url)
        key = idempotency_key or str(uuid.uuid4())
        return _result(self.tasks.setdefault(key, uuid.uuid4()))

    async def wait(
        self,
        task_id: uuid.UUID,
        *,
        timeout_seconds: float | None = None,
        on_change: Callable[[bodies.Task], None] | None = None,
    ) -> bodies.Task:
        """Return at once, and count the callers that wait at the same time."""
        self._at_once += 1
        self.most_at_once = max(self.most_at_once, self._at_once)
        try:
            if self.together is not None:
                await self.together.wait()
            self.before_wait(task_id)
            return _result(task_id)
        finally:
            self._at_once -= 1

    async def fetch(self, task_id: uuid.UUID) -> Segmentation:
        """Answer one dog for any task."""
        return segmentation(task_id, FOUND)


def segmentation(task_id: uuid.UUID, found: Manifest) -> Segmentation:
    """A done task that found *found*."""
    return Segmentation(
        result=_result(task_id), manifest=found, mask_png=b"mask", overlay_webp=b"overlay"
    )


def _result(task_id: uuid.UUID) -> bodies.ResultDetail:
    return bodies.ResultDetail(
        task_id=task_id,
        status=TaskStatus.DONE,
        progress=1,
        credits=1,
        credits_charged=1,
        attempt_count=1,
        created_at=datetime.now(UTC),
        image_url="x",
        prompts=(),
        options=SegmentOptions(),
    )
