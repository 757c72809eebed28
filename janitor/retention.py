"""Retention: rows that have ended are deleted when they are old enough."""

from typing import Final

from janitor.housekeeping import Housekeeping
from janitor.state import State
from runtime import logs


log = logs.get_logger(__name__)

BATCH: Final = 500


class Retention:
    """Prunes tasks, in batches, so that no transaction holds many rows for long."""

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


class WebhookRetention:
    """Prunes webhook deliveries that ended *days* ago, delivered or dead, in such batches too."""

    def __init__(self, database: Housekeeping, state: State, *, days: int) -> None:
        self._database = database
        self._state = state
        self._days = days

    async def __call__(self) -> bool:
        """Prune one batch; whether there may be more. Attempts go with their delivery."""
        count = await self._database.prune_webhooks(self._days, BATCH)
        self._state.pruned_webhooks += count
        if count:
            log.info("webhooks_pruned", count=count)
        return count > 0
