"""The reaper, for when nobody works: late tasks expire and silent attempts end all the same."""

from typing import Final

from janitor.housekeeping import Housekeeping
from janitor.state import State
from runtime import logs


log = logs.get_logger(__name__)

BATCH: Final = 100


class Reaping:
    """Reaps as listeners do; whoever comes while another reaps finds nothing to do."""

    def __init__(self, database: Housekeeping, state: State) -> None:
        self._database = database
        self._state = state

    async def __call__(self) -> bool:
        """Reap one batch; whether there may be more."""
        count = await self._database.reap(BATCH)
        self._state.reaped_attempts += count
        if count:
            log.warning("attempts_reaped", count=count)
        return count == BATCH
