"""`S3Client`: upload a picture, ask for concepts, get masks."""

import asyncio
import contextlib
import uuid
from collections.abc import AsyncGenerator, Callable
from pathlib import Path
from typing import Any, Self

from pydantic_settings import BaseSettings, SettingsConfigDict

from s3_sam3 import errors
from s3_sam3.api import Api
from s3_sam3.contracts import bodies, limits
from s3_sam3.contracts.manifest import Manifest
from s3_sam3.contracts.prompts import Prompt, SegmentOptions
from s3_sam3.contracts.tasks import FINAL_STATUSES, TaskStatus
from s3_sam3.notices import Notices
from s3_sam3.segmentation import Segmentation, read_manifest
from s3_sam3.session import Session
from s3_sam3.webhooks import Webhooks


POLL_LIVE_SECONDS = 10.0
"""Look again this often while Realtime is joined: a notice may be lost."""

POLL_DEAF_SECONDS = 1.0
"""Look again this often while Realtime is not joined."""


class ClientSettings(BaseSettings):
    """Where the service is, from the environment; nothing here is secret."""

    model_config = SettingsConfigDict(frozen=True, extra="ignore")

    s3_api_url: str = "http://127.0.0.1:8080"
    supabase_url: str
    supabase_anon_key: str
    """The project's publishable (anon) key."""


class S3Client:
    """
    One signed-in user of an S3 service.

        async with await S3Client.sign_in(email="ada@example.org", password="…") as s3:
            found = await s3.segment("bus.jpg", "yellow school bus")
            found.save("out/")
    """

    def __init__(self, session: Session, *, api_url: str) -> None:
        self.session = session
        self.api = Api(url=api_url, session=session)
        self.notices = Notices(session)
        self.webhooks = Webhooks(self.api)

    @classmethod
    async def sign_in(
        cls, *, email: str, password: str, settings: ClientSettings | None = None
    ) -> Self:
        """Sign in with a password; raises SignInFailed or Unreachable."""
        settings = settings or ClientSettings()
        session = await Session.sign_in(
            supabase_url=settings.supabase_url,
            anon_key=settings.supabase_anon_key,
            email=email,
            password=password,
        )
        return cls(session, api_url=settings.s3_api_url)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    async def close(self) -> None:
        """Leave Realtime and close the connections."""
        await self.notices.close()
        await self.api.close()

    async def segment(
        self,
        picture: str | Path | bytes,
        *prompts: str | Prompt,
        options: SegmentOptions | None = None,
        project_id: uuid.UUID | None = None,
        deadline_seconds: int | None = None,
        needs: bodies.Needs | None = None,
        timeout_seconds: float | None = None,
        on_change: Callable[[bodies.Task], None] | None = None,
    ) -> Segmentation:
        """
        Upload, submit, watch and download, in one call.

        After *timeout_seconds* the waiting ends and the task goes on. A task that is still pending
        after *deadline_seconds* is cancelled and costs nothing.
        Raises TaskFailed, TaskCancelled, WaitedTooLong, ApiError or Unreachable.
        """
        upload = await self.upload(picture)
        task = await self.submit(
            upload.image_url,
            *prompts,
            options=options,
            project_id=project_id,
            deadline_seconds=deadline_seconds,
            needs=needs,
        )
        await self.wait(task.task_id, timeout_seconds=timeout_seconds, on_change=on_change)
        return await self.fetch(task.task_id)

    async def upload(self, picture: str | Path | bytes) -> bodies.Upload:
        """Send a picture's bytes; the same bytes sent twice are one object."""
        if not isinstance(picture, bytes):
            picture = await asyncio.to_thread(Path(picture).read_bytes)
        return await self.api.call("POST", "/api/v1/upload", bodies.Upload, content=picture)

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
        """
        Queue a task.

        Requests with the same *idempotency_key* are one task. Without a key each call makes up its
        own, so that its retries are no second task.
        """
        asked = tuple(Prompt(text=each) if isinstance(each, str) else each for each in prompts)
        request: dict[str, Any] = {
            "image_url": image_url,
            "prompts": [prompt.model_dump(mode="json", exclude_none=True) for prompt in asked],
            **(options or SegmentOptions()).model_dump(mode="json"),
            "project_id": None if project_id is None else str(project_id),
            "deadline_seconds": deadline_seconds,
            "needs": None if needs is None else needs.model_dump(mode="json", exclude_none=True),
        }
        return await self.api.call(
            "POST",
            "/api/v1/segment",
            bodies.Task,
            json={name: value for name, value in request.items() if value is not None},
            headers={"Idempotency-Key": idempotency_key or str(uuid.uuid4())},
        )

    async def watch(self, task_id: uuid.UUID) -> AsyncGenerator[bodies.Task]:
        """
        Yield the task now, and again each time it changed, until it is final.

        Realtime only says when to look; a slow poll finds what it lost.
        """
        last: bodies.Task | None = None
        with self.notices.of(task_id) as woken:
            while True:
                woken.clear()
                task = await self.task(task_id)
                if task != last:
                    last = task
                    yield task
                if task.status in FINAL_STATUSES:
                    return
                live = self.notices.live.is_set()
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(POLL_LIVE_SECONDS if live else POLL_DEAF_SECONDS):
                        await woken.wait()

    async def wait(
        self,
        task_id: uuid.UUID,
        *,
        timeout_seconds: float | None = None,
        on_change: Callable[[bodies.Task], None] | None = None,
    ) -> bodies.Task:
        """Wait until the task is done; raises TaskFailed, TaskCancelled or WaitedTooLong."""
        try:
            async with asyncio.timeout(timeout_seconds):
                async with contextlib.aclosing(self.watch(task_id)) as states:
                    async for task in states:
                        if on_change is not None:
                            on_change(task)
        except TimeoutError as error:
            raise errors.WaitedTooLong(task_id, timeout_seconds or 0) from error
        if task.status is TaskStatus.FAILED:
            raise errors.TaskFailed(task_id, task.error)
        if task.status is TaskStatus.CANCELLED:
            raise errors.TaskCancelled(task_id, task.error)
        return task

    async def fetch(self, task_id: uuid.UUID) -> Segmentation:
        """Download a done task's manifest and pictures; raises UnreadableManifest."""
        result = await self.result(task_id)
        manifest, mask, overlay = await asyncio.gather(
            self.download(result.manifest_download_url),
            self.download(result.mask_download_url),
            self.download(result.overlay_download_url),
        )
        return Segmentation(
            result=result,
            manifest=read_manifest(task_id, manifest),
            mask_png=mask,
            overlay_webp=overlay,
        )

    async def download(self, url: str | None) -> bytes:
        if url is None:
            msg = "The task is not done yet, so there is nothing to download."
            raise errors.S3Error(msg)
        return b"".join([chunk async for chunk in self.api.download(url)])

    async def task(self, task_id: uuid.UUID) -> bodies.Task:
        return await self.api.call("GET", f"/api/v1/tasks/{task_id}", bodies.Task)

    async def cancel(self, task_id: uuid.UUID) -> bodies.Task:
        """Cancel a task that has not ended; credits for what was not computed are given back."""
        return await self.api.call("DELETE", f"/api/v1/tasks/{task_id}", bodies.Task)

    async def result(self, task_id: uuid.UUID) -> bodies.ResultDetail:
        """One result, with signed URLs of its files."""
        return await self.api.call("GET", f"/api/v1/results/{task_id}", bodies.ResultDetail)

    async def rethreshold(self, task_id: uuid.UUID, **changes: Any) -> Manifest:
        """
        Choose the instances of a done task again, without the GPU and at no price.

        The stored result stays as it is.

        *changes* are the fields of RethresholdRequest: threshold, thresholds, max_instances,
        min_area, nms. Raises ApiError, as for a threshold below the task's floor.
        """
        answer = await self.api.call(
            "POST",
            f"/api/v1/results/{task_id}/rethreshold",
            bodies.Rethresholded,
            json=bodies.RethresholdRequest(**changes).model_dump(mode="json", exclude_none=True),
        )
        return answer.manifest

    async def results(
        self,
        *,
        limit: int = 20,
        cursor: str | None = None,
        status: TaskStatus | None = None,
        project_id: uuid.UUID | None = None,
    ) -> bodies.ResultPage:
        """One page of results, newest first."""
        params = {"limit": limit, "cursor": cursor, "status": status, "project_id": project_id}
        return await self.api.call("GET", "/api/v1/results", bodies.ResultPage, params=params)

    async def delete_result(self, task_id: uuid.UUID) -> bodies.Deleted:
        """Delete a result at once; its objects follow within seconds."""
        return await self.api.call("DELETE", f"/api/v1/results/{task_id}", bodies.Deleted)

    async def projects(self) -> bodies.ProjectList:
        return await self.api.call("GET", "/api/v1/projects", bodies.ProjectList)

    async def create_project(self, name: str) -> bodies.Project:
        return await self.api.call("POST", "/api/v1/projects", bodies.Project, json={"name": name})

    async def me(self) -> bodies.Me:
        """The account, its tier and its credits."""
        return await self.api.call("GET", "/api/v1/me", bodies.Me)

    async def usage(
        self, *, limit: int = limits.MAX_PAGE_SIZE, cursor: str | None = None
    ) -> bodies.UsagePage:
        """One page of the credit ledger, newest first."""
        params = {"limit": limit, "cursor": cursor}
        return await self.api.call("GET", "/api/v1/usage", bodies.UsagePage, params=params)
