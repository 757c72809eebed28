"""A user with a picture and a queue: what the user may do, and what an operator sees."""

import asyncio
import uuid
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import psycopg
from psycopg.rows import dict_row

from adapters.objects import ObjectStore
from adapters.rest import Rest
from devstack.testing import SignedUpUser
from s3_sam3.contracts import object_keys
from s3_sam3.contracts.tasks import TaskStatus


async def until(condition: Callable[[], Any], seconds: float = 15.0) -> None:
    """Wait until *condition* holds; it may be a coroutine function."""
    async with asyncio.timeout(seconds):
        while True:
            answer = condition()
            if await answer if asyncio.iscoroutine(answer) else answer:
                return
            await asyncio.sleep(0.01)


@dataclass(kw_only=True)
class Queue:
    """One user's view of the queue, and the superuser's."""

    rest: Rest
    store: ObjectStore
    db: psycopg.AsyncConnection[Any]
    user: SignedUpUser
    service_key: str
    picture_key: str

    async def another_picture(self) -> str:
        """Upload the same bytes under another key; answers it."""
        key = object_keys.upload_key(uuid.UUID(self.user.id), uuid.uuid4().hex * 2, "png")
        await self.store.put(key, await self.store.get(self.picture_key), "image/png")
        return key

    async def submit(self, *texts: str, picture_key: str | None = None, **options: Any) -> str:
        """Submit a task with one prompt per text (default: one), with *options*; its id."""
        answer = await self.rest.rpc(
            "submit_task",
            {
                "p_source_image_url": picture_key or self.picture_key,
                "p_prompts": [{"text": text} for text in texts or ("a dog",)],
                "p_options": options,
            },
            self.user.access_token,
        )
        return str(answer["task"]["id"])

    async def cancel(self, task_id: str) -> None:
        """Cancel it as its owner."""
        await self.rest.rpc("cancel_task", {"p_id": task_id}, self.user.access_token)

    async def row(self, task_id: str) -> dict[str, Any]:
        """The task's row."""
        return (await self.rows("select * from segmentation_results where id = %s", task_id))[0]

    async def attempts(self, task_id: str) -> list[dict[str, Any]]:
        """The task's attempts, oldest first."""
        return await self.rows(
            "select * from segmentation.attempts where result_id = %s order by token", task_id
        )

    async def ledger(self, task_id: str) -> list[str]:
        """Actions of the ledger for the task, in order."""
        rows = await self.rows(
            "select action::text from usage_logs where result_id = %s order by id", task_id
        )
        return [row["action"] for row in rows]

    async def reaches(self, task_id: str, status: TaskStatus, seconds: float = 15.0) -> None:
        """Wait until the task has that status."""

        async def there() -> bool:
            return bool((await self.row(task_id))["status"] == status)

        await until(there, seconds)

    async def operate(self, function: str, **params: Any) -> Any:
        """Call a function as the operator."""
        return await self.rest.rpc(function, params, self.service_key)

    async def rows(self, query: str, *values: Any) -> list[dict[str, Any]]:
        """A query of the superuser."""
        async with self.db.cursor(row_factory=dict_row) as cursor:
            await cursor.execute(query.encode(), values or None)
            return await cursor.fetchall() if cursor.description else []
