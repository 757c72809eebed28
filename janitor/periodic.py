"""Repeats each job at its own interval; a failing job does not stop the others."""

import asyncio
import contextlib
import random
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final

from adapters.objects import ObjectStoreUnavailable
from adapters.rest import RestUnavailable
from janitor.health import JobState, State
from runtime import logs


log = logs.get_logger(__name__)

_DICE: Final = random.SystemRandom()
LONGEST_BACKOFF_SECONDS: Final = 60.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Job:
    """Something to do every *seconds*, jittered by a tenth."""

    name: str
    work: Callable[[], Awaitable[bool]]
    """One round; True: there may be more to do at once."""
    seconds: float


async def repeat(jobs: Sequence[Job], state: State, stop: asyncio.Event, *, grace: float) -> None:
    """
    Do all jobs until *stop*; open rounds then have *grace* seconds to end.

    To cut a round off is harmless: each round may be repeated from its start.
    """
    tasks = [asyncio.create_task(_repeat(job, state, stop), name=job.name) for job in jobs]
    try:
        await stop.wait()
        await asyncio.wait(tasks, timeout=grace)
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


async def _repeat(job: Job, state: State, stop: asyncio.Event) -> None:
    own = state.jobs.setdefault(job.name, JobState())
    while not stop.is_set():
        pause = await _round(job, own)
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(pause):
                await stop.wait()


async def _round(job: Job, own: JobState) -> float:
    """Do one round; how many seconds to wait before the next."""
    try:
        more = await job.work()
    except (RestUnavailable, ObjectStoreUnavailable) as error:
        log.warning("job_postponed", job=job.name, error=str(error))
        return _after_failure(job, own, error)
    except Exception as error:
        # The one place that catches everything: a fault in one job must not end the others.
        log.exception("job_failed", job=job.name)
        return _after_failure(job, own, error)
    own.done_at, own.failures, own.error = datetime.now(UTC), 0, None
    return 0.0 if more else job.seconds * _DICE.uniform(0.9, 1.1)


def _after_failure(job: Job, own: JobState, error: Exception) -> float:
    own.failures += 1
    own.error = f"{type(error).__name__}: {error}"
    backoff = min(2.0 ** min(own.failures, 10), LONGEST_BACKOFF_SECONDS)
    return min(backoff, job.seconds) * _DICE.uniform(0.5, 1.5)
