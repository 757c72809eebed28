"""The books: balance, ledger and tasks must agree."""

from typing import Final

from janitor.housekeeping import Housekeeping
from janitor.state import State
from runtime import logs


log = logs.get_logger(__name__)

MOST_LINES: Final = 50
"""Of the log, for one check; the count is always told."""


class LedgerCheck:
    """Asks the database what does not add up, and says it loudly."""

    def __init__(self, database: Housekeeping, state: State) -> None:
        self._database = database
        self._state = state

    async def __call__(self) -> bool:
        """Check once; there is never more to do at once."""
        found = await self._database.mismatches()
        for each in found[:MOST_LINES]:
            log.error(
                "ledger_mismatch",
                user_id=str(each.user_id) if each.user_id else None,
                result_id=str(each.result_id) if each.result_id else None,
                problem=each.problem,
            )
        if found:
            log.error("ledger_wrong", count=len(found))
        elif self._state.mismatches:
            log.info("ledger_right_again")
        self._state.mismatches = found
        return False
