"""What is done again and again: each chore at its own pace, none stopped by another's fault."""

import asyncio
import contextlib
import random
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final

from adapters.objects import ObjectStoreUnavailable
from adapters.rest import RestUnavailable
from janitor.state import ChoreState, State
from runtime import logs


log = logs.get_logger(__name__)

_DICE: Final = random.SystemRandom()
LONGEST_BACKOFF_SECONDS: Final = 60.0

Work = Callable[[], Awaitable[bool]]
"""One round; True: there may be more to do at once."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Chore:
    """Something to do every *seconds*, more or less a tenth."""

    name: str
    work: Work
    seconds: float


async def keep(chores: Sequence[Chore], state: State, stop: asyncio.Event, *, grace: float) -> None:
    """
    Do all chores until *stop*; rounds that run then have *grace* seconds to end.

    A round that is cut off is no loss: each of them may be repeated from its start.
    """
    tasks = [asyncio.create_task(_repeat(chore, state, stop), name=chore.name) for chore in chores]
    try:
        await stop.wait()
        await asyncio.wait(tasks, timeout=grace)
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


async def _repeat(chore: Chore, state: State, stop: asyncio.Event) -> None:
    own = state.chores.setdefault(chore.name, ChoreState())
    while not stop.is_set():
        pause = await _round(chore, own)
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(pause):
                await stop.wait()


async def _round(chore: Chore, own: ChoreState) -> float:
    """Do one round and answer how many seconds to wait before the next."""
    try:
        more = await chore.work()
    except (RestUnavailable, ObjectStoreUnavailable) as error:
        log.warning("chore_postponed", chore=chore.name, error=str(error))
        return _after_failure(chore, own, error)
    except Exception as error:
        # The one place that catches everything: a fault in one chore must not end the others.
        log.exception("chore_failed", chore=chore.name)
        return _after_failure(chore, own, error)
    own.done_at, own.failures, own.error = datetime.now(UTC), 0, None
    return 0.0 if more else chore.seconds * _DICE.uniform(0.9, 1.1)


def _after_failure(chore: Chore, own: ChoreState, error: Exception) -> float:
    own.failures += 1
    own.error = f"{type(error).__name__}: {error}"
    backoff = min(2.0 ** min(own.failures, 10), LONGEST_BACKOFF_SECONDS)
    return min(backoff, chore.seconds) * _DICE.uniform(0.5, 1.5)
