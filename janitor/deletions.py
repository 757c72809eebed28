"""The outbox of objects: what a deleted row leaves in the bucket goes too."""

import asyncio
from typing import Final

from adapters.objects import ObjectStore
from janitor.housekeeping import Deletion, Housekeeping
from janitor.places import is_deletable_folder
from janitor.state import State
from runtime import logs


log = logs.get_logger(__name__)

BATCH: Final = 32
"""Lines taken at once. Few, so that a lease seldom ends before its line's turn."""

AT_ONCE: Final = 8


class Deletions:
    """
    Empties the outbox.

    Objects first, then the line: whoever dies between the two leaves a line that comes back
    when its lease ends, and deleting what is gone is no error.
    """

    def __init__(self, database: Housekeeping, bucket: ObjectStore, state: State) -> None:
        self._database = database
        self._bucket = bucket
        self._state = state
        self._room = asyncio.Semaphore(AT_ONCE)

    async def __call__(self) -> bool:
        """Do one batch; whether more may be due. Raises what failed, after the rest was done."""
        taken = await self._database.take_deletions(BATCH)
        ended = await asyncio.gather(*(self._one(line) for line in taken), return_exceptions=True)
        faults = [fault for fault in ended if isinstance(fault, BaseException)]
        if faults:
            raise faults[0]
        return len(taken) == BATCH

    async def _one(self, line: Deletion) -> None:
        if not is_deletable_folder(line.prefix):
            self._state.refused_prefixes += 1
            log.error("deletion_refused", deletion_id=line.id, prefix=line.prefix)
            return
        async with self._room:
            count = await self._bucket.delete_prefix(line.prefix)
            await self._database.finish_deletion(line.id)
        self._state.deleted_objects += count
        log.info("objects_deleted", deletion_id=line.id, prefix=line.prefix, count=count)
