"""Retention: final rows older than their owner's tier keeps them are deleted."""

from typing import Final

from adapters import telemetry
from janitor.housekeeping import Housekeeping
from janitor.state import State


log = telemetry.get_logger(__name__)

BATCH: Final = 500


class Retention:
    """Prunes in batches, so that no transaction holds many rows for long."""

    def __init__(self, database: Housekeeping, state: State) -> None:
        self._database = database
        self._state = state

    async def __call__(self) -> bool:
        """Prune one batch; whether there may be more. The objects follow through the outbox."""
        count = await self._database.prune(BATCH)
        self._state.pruned_results += count
        if count:
            log.info("results_pruned", count=count)
        return count > 0
