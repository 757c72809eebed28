"""The SQL functions that a janitor may call (docs/sql-interface.md), and their data."""

import uuid
from collections.abc import Sequence
from typing import Any, Final

from pydantic import BaseModel, ConfigDict

from adapters import rest


_COLUMNS: Final = "id,manifest_url"


class _Row(BaseModel):
    """A row as PostgREST sends it; a newer database may send more."""

    model_config = ConfigDict(frozen=True, extra="ignore")


class Deletion(_Row):
    """A line of the outbox of deletions: everything under a prefix must be deleted."""

    id: int
    prefix: str


class Mismatch(_Row):
    """A place where balance, ledger and tasks disagree."""

    user_id: uuid.UUID | None = None
    result_id: uuid.UUID | None = None
    problem: str


class DoneTask(_Row):
    """A task that is done, and its manifest's key."""

    id: uuid.UUID
    manifest_url: str


class Database:
    """The database, by the service key. Every method may raise RestError."""

    def __init__(self, connection: rest.Rest, *, lease_seconds: int = 60) -> None:
        self._rest = connection
        self._lease_seconds = lease_seconds

    async def check(self) -> None:
        """Call a function that only the service role may call; it changes nothing."""
        await self.orphans([])

    async def take_deletions(self, limit: int) -> list[Deletion]:
        """Lease due lines of the outbox; a line that is not finished in time is due again."""
        rows = await self._rest.rpc(
            "take_object_deletions",
            {"p_limit": limit, "p_lease_seconds": self._lease_seconds},
        )
        return [Deletion.model_validate(row) for row in rows or []]

    async def finish_deletion(self, deletion_id: int) -> None:
        """Record that nothing is left under the prefix; to do so twice is harmless."""
        await self._rest.rpc("finish_object_deletion", {"p_id": deletion_id}, idempotent=True)

    async def reap(self, limit: int) -> int:
        """
        End silent attempts (how many) and cancel late tasks.

        0 also while another process reaps.
        """
        return int(await self._rest.rpc("reap_tasks", {"p_limit": limit}))

    async def prune(self, limit: int) -> int:
        """Delete final rows that are older than their owner's tier keeps them; how many."""
        return int(await self._rest.rpc("prune_results", {"p_limit": limit}))

    async def prune_webhooks(self, days: int, limit: int) -> int:
        """Delete webhook deliveries that ended *days* ago; how many."""
        return int(await self._rest.rpc("prune_webhooks", {"p_days": days, "p_limit": limit}))

    async def orphans(self, keys: Sequence[str]) -> set[str]:
        """Those of *keys* that no row needs."""
        rows = await self._rest.rpc("orphaned_objects", {"p_keys": list(keys)}, idempotent=True)
        return {row["key"] for row in rows or []}

    async def mismatches(self) -> list[Mismatch]:
        """Where balance, ledger and tasks disagree."""
        rows = await self._rest.rpc("ledger_mismatches", idempotent=True)
        return [Mismatch.model_validate(row) for row in rows or []]

    async def done_tasks(self, limit: int) -> list[DoneTask]:
        """A sample of done tasks: ids are random, so those after a random id are a sample."""
        start = str(uuid.uuid4())
        found = await self._done(limit, start, after=True)
        if len(found) < limit:
            found += await self._done(limit - len(found), start, after=False)
        return found

    async def still_done(self, task: DoneTask) -> bool:
        """Whether the row still exists and names that manifest."""
        row = await self._rest.select_one(
            "segmentation_results", None, columns=_COLUMNS, id=str(task.id)
        )
        return row is not None and row["manifest_url"] == task.manifest_url

    async def _done(self, limit: int, start: str, *, after: bool) -> list[DoneTask]:
        query = (
            self._rest.table("segmentation_results")
            .select(_COLUMNS)
            .eq("status", "done")
            .not_.is_("manifest_url", "null")
        )
        query = query.gte("id", start) if after else query.lt("id", start)
        rows: list[Any] = list((await query.order("id").limit(limit).execute()).data)
        return [DoneTask.model_validate(row) for row in rows]
