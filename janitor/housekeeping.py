"""The SQL functions that a janitor may call, as Python sees them (docs/sql-interface.md)."""

import uuid
from collections.abc import Sequence
from typing import Any, Final

from pydantic import BaseModel, ConfigDict

from adapters import rest


_ALL_COLUMNS: Final = "id,manifest_url"


class _Row(BaseModel):
    """A row as PostgREST sends it; a newer database may send more."""

    model_config = ConfigDict(frozen=True, extra="ignore")


class Deletion(_Row):
    """A line of the outbox: everything under a prefix is to go."""

    id: int
    prefix: str


class Mismatch(_Row):
    """A place where balance, ledger and tasks disagree."""

    user_id: uuid.UUID | None = None
    result_id: uuid.UUID | None = None
    problem: str


class DoneTask(_Row):
    """A task that is done, and where its manifest should lie."""

    id: uuid.UUID
    manifest_url: str


class Housekeeping:
    """The database, by the service key. Every method may raise RestError."""

    def __init__(self, door: rest.Rest, *, lease_seconds: int = 60) -> None:
        self._door = door
        self._lease_seconds = lease_seconds

    async def check(self) -> None:
        """Ask for nothing, with the key and a function that only the service role may call."""
        await self.orphans([])

    async def take_deletions(self, limit: int) -> list[Deletion]:
        """Lease due lines of the outbox; a line that is not finished comes back by itself."""
        rows = await self._door.rpc(
            "take_object_deletions",
            {"p_limit": limit, "p_lease_seconds": self._lease_seconds},
        )
        return [Deletion.model_validate(row) for row in rows or []]

    async def finish_deletion(self, deletion_id: int) -> None:
        """Say that nothing is left under the prefix; saying it twice is harmless."""
        await self._door.rpc("finish_object_deletion", {"p_id": deletion_id}, idempotent=True)

    async def reap(self, limit: int) -> int:
        """
        End silent attempts (how many), cancel what is late, mark what nobody online can do.

        0 also while another reaps.
        """
        return int(await self._door.rpc("reap_tasks", {"p_limit": limit}))

    async def prune(self, limit: int) -> int:
        """Delete final rows that their owner's tier keeps no longer; how many there were."""
        return int(await self._door.rpc("prune_results", {"p_limit": limit}))

    async def prune_webhooks(self, days: int, limit: int) -> int:
        """Delete webhook deliveries that ended *days* ago; how many there were."""
        return int(await self._door.rpc("prune_webhooks", {"p_days": days, "p_limit": limit}))

    async def orphans(self, keys: Sequence[str]) -> set[str]:
        """Those of *keys* that no row needs."""
        rows = await self._door.rpc("orphaned_objects", {"p_keys": list(keys)}, idempotent=True)
        return {row["key"] for row in rows or []}

    async def mismatches(self) -> list[Mismatch]:
        """What breaks the ledger's law; empty: the books are right."""
        rows = await self._door.rpc("ledger_mismatches", idempotent=True)
        return [Mismatch.model_validate(row) for row in rows or []]

    async def done_tasks(self, limit: int) -> list[DoneTask]:
        """A sample of done tasks: ids are random, so those after a random id are any of them."""
        start = str(uuid.uuid4())
        found = await self._done(limit, start, after=True)
        if len(found) < limit:
            found += await self._done(limit - len(found), start, after=False)
        return found

    async def still_done(self, task: DoneTask) -> bool:
        """Whether the row is still there and still names that manifest."""
        row = await self._door.select_one(
            "segmentation_results", None, columns=_ALL_COLUMNS, id=str(task.id)
        )
        return row is not None and row["manifest_url"] == task.manifest_url

    async def _done(self, limit: int, start: str, *, after: bool) -> list[DoneTask]:
        query = (
            self._door.table("segmentation_results")
            .select(_ALL_COLUMNS)
            .eq("status", "done")
            .not_.is_("manifest_url", "null")
        )
        query = query.gte("id", start) if after else query.lt("id", start)
        rows: list[Any] = list((await query.order("id").limit(limit).execute()).data)
        return [DoneTask.model_validate(row) for row in rows]
