"""A platform with users, tasks and objects in it, and janitors that tests start."""

import asyncio
import uuid
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any

import psycopg
from listeners import ListenerProcess
from psycopg.rows import dict_row

from adapters.objects import ObjectStore
from adapters.rest import Rest
from devstack.testing import SignedUpUser, Stack
from janitor.database import Database
from s3_sam3.contracts import object_keys


JanitorProcess = ListenerProcess
"""`python -m janitor`, and what it logged."""

Spawn = Callable[..., Awaitable[JanitorProcess]]
"""`await spawn(QUICK, JANITOR_…=…)`: a janitor process, killed at the end."""

QUICK = {"delete": 0.1, "deletion_lease": 1}
"""A schedule for tests, in seconds."""

NAMES = (object_keys.MANIFEST, object_keys.MASK, object_keys.OVERLAY)


@dataclass(kw_only=True)
class Platform:
    """An empty platform; what happens here happens by the functions that all programs call."""

    stack: Stack
    db: psycopg.AsyncConnection[Any]
    rest: Rest
    bucket: ObjectStore
    database: Database

    async def upload(self, user: SignedUpUser, digit: str = "0") -> str:
        """Put a picture of *user* into the bucket; its key."""
        key = object_keys.upload_key(uuid.UUID(user.id), digit * 64, "png")
        await self.bucket.put(key, b"picture", "image/png")
        return key

    async def pending_task(self, user: SignedUpUser) -> str:
        """Submit a task; its id."""
        answer = await self.rest.rpc(
            "submit_task",
            {"p_source_image_url": await self.upload(user), "p_prompts": [{"text": "cat"}]},
            user.access_token,
        )
        return str(answer["task"]["id"])

    async def claim(self) -> dict[str, Any]:
        """Claim the one task that waits; what the worker learns."""
        (claim,) = await self.service("claim_tasks", p_worker="w", p_limit=1)
        found: dict[str, Any] = claim
        return found

    async def deposit(self, claim: dict[str, Any]) -> str:
        """Write a worker's results; their folder."""
        prefix = object_keys.result_prefix(
            uuid.UUID(claim["user_id"]), uuid.UUID(claim["id"]), claim["token"]
        )
        for name in NAMES:
            await self.bucket.put(prefix + name, b"result", "application/octet-stream")
        return prefix

    async def settle(self, claim: dict[str, Any], prefix: str) -> None:
        """Complete the task with the results at *prefix*."""
        answer = await self.service(
            "complete_task",
            p_token=claim["token"],
            p_manifest_url=prefix + object_keys.MANIFEST,
            p_mask_image_url=prefix + object_keys.MASK,
            p_overlay_image_url=prefix + object_keys.OVERLAY,
            p_instance_count=1,
            p_summary={},
        )
        assert answer == "ok"

    async def done_task(self, user: SignedUpUser) -> str:
        """Submit, claim, deposit and settle one task; its id."""
        task_id = await self.pending_task(user)
        claim = await self.claim()
        await self.settle(claim, await self.deposit(claim))
        return task_id

    async def delete_result(self, user: SignedUpUser, task_id: str) -> None:
        """Delete a result as its owner."""
        await self.rest.rpc("delete_result", {"p_id": task_id}, user.access_token)

    async def service(self, function: str, **params: Any) -> Any:
        """Call a function with the service key."""
        return await self.rest.rpc(function, params, self.stack.service_key)

    async def keys(self, owner: SignedUpUser | None = None) -> set[str]:
        """Every object of the bucket, or of one user."""
        found: set[str] = set()
        for place in ("uploads/", "results/"):
            prefix = f"{place}{owner.id}/" if owner else place
            async for page in self.bucket.pages(prefix):
                found |= {item.key for item in page}
        return found

    async def rows(self, query: str, *values: Any) -> list[dict[str, Any]]:
        """Rows, without row-level security."""
        async with self.db.cursor(row_factory=dict_row) as cursor:
            await cursor.execute(query.encode(), values)
            return await cursor.fetchall() if cursor.description else []

    async def open_lines(self) -> int:
        """Lines of the outbox to work off now; each has a twin that is due in an hour."""
        (row,) = await self.rows(
            "select count(*) as n from segmentation.object_deletions"
            " where done_at is null and due_at < now() + interval '1 minute'"
        )
        return int(row["n"])

    async def outbox_is_empty(self) -> bool:
        """Whether all lines are finished."""
        return await self.open_lines() == 0

    async def grow_old(self, task_id: str, days: float) -> None:
        """Let a task have ended *days* ago."""
        await self.rows(
            "update segmentation_results set created_at = created_at - make_interval(secs => %s),"
            " started_at = started_at - make_interval(secs => %s),"
            " finished_at = finished_at - make_interval(secs => %s) where id = %s",
            *(days * 86400,) * 3,
            task_id,
        )


async def until(condition: Callable[[], Any], seconds: float = 20.0) -> None:
    """Wait until *condition* holds; it may be a coroutine function."""
    async with asyncio.timeout(seconds):
        while True:
            answer = condition()
            if await answer if asyncio.iscoroutine(answer) else answer:
                return
            await asyncio.sleep(0.02)
