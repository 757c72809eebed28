"""The life of the process: check the keys, repeat each job at its own interval, stop softly."""

import asyncio
import contextlib
import random
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import StrEnum
from functools import partial
from typing import Final

from pydantic import Field

from adapters import rest
from adapters.objects import ObjectNotFound, ObjectRefused, ObjectStore, ObjectStoreUnavailable
from adapters.rest import RestUnavailable
from janitor import health, jobs
from janitor.database import Database
from janitor.health import JobState, State
from janitor.sweep import SweepPlan
from runtime import logs, settings
from runtime.stopping import stop_asked


log = logs.get_logger(__name__)

GRACE_SECONDS: Final = 5.0
"""For open rounds when a stop is asked for."""

LONGEST_BACKOFF_SECONDS: Final = 60.0

_DICE: Final = random.SystemRandom()


class SweepMode(StrEnum):
    """What the running process does about orphaned objects."""

    OFF = "off"
    REPORT = "report"
    """Log what a sweep would delete."""
    DELETE = "delete"


class JanitorSettings(settings.ServiceKeySettings, settings.R2Settings):
    """What `python -m janitor` reads; docs/settings.md explains each."""

    janitor_sweep: SweepMode = SweepMode.REPORT
    janitor_port: int | None = Field(default=None, ge=0, le=65535)
    s3_log_format: logs.LogFormat = "auto"


@dataclass(frozen=True, slots=True, kw_only=True)
class Schedule:
    """Seconds between two rounds of each job, and how long a deletion is leased."""

    reap: float = 10.0
    delete: float = 3.0
    prune: float = 3600.0
    ledger: float = 3600.0
    sweep: float = 86_400.0
    deletion_lease: int = 60
    """When another janitor takes over from one that died."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Stores:
    database: Database
    bucket: ObjectStore


@dataclass(frozen=True, slots=True, kw_only=True)
class Job:
    """Something to do every *seconds*, jittered by a tenth."""

    name: str
    work: Callable[[], Awaitable[bool]]
    """One round; True: there may be more to do at once."""
    seconds: float


@contextlib.asynccontextmanager
async def connected(config: JanitorSettings, schedule: Schedule) -> AsyncIterator[Stores]:
    """The database and the bucket, with the keys of *config*."""
    key = config.supabase_service_key.get_secret_value()
    async with (
        rest.Rest(url=config.supabase_url, key=key) as connection,
        ObjectStore(
            endpoint=config.r2_endpoint,
            access_key_id=config.r2_access_key_id,
            secret_access_key=config.r2_secret_access_key.get_secret_value(),
            bucket=config.r2_bucket,
        ) as bucket,
    ):
        database = Database(connection, lease_seconds=schedule.deletion_lease)
        yield Stores(database=database, bucket=bucket)


async def check_keys(stores: Stores) -> None:
    """
    Use each key once. Raises: SettingsError when one of them is refused.

    A store that does not answer is not a key's fault: it is logged, and the jobs wait for it.
    """
    try:
        await stores.database.check()
    except rest.RestRefused as error:
        msg = (
            "The database refuses SUPABASE_SERVICE_KEY as the service role,"
            f" or lacks the migrations of this version ({error})."
        )
        raise settings.SettingsError(msg) from error
    except rest.RestUnavailable as error:
        log.warning("database_unavailable", error=str(error))
    try:
        await stores.bucket.ping()
    except (ObjectRefused, ObjectNotFound) as error:
        msg = f"The object store refuses R2_ACCESS_KEY_ID or R2_BUCKET ({error})."
        raise settings.SettingsError(msg) from error
    except ObjectStoreUnavailable as error:
        log.warning("object_store_unavailable", error=str(error))


async def serve(
    config: JanitorSettings, schedule: Schedule | None = None, plan: SweepPlan | None = None
) -> None:
    """Run until SIGTERM or SIGINT. Raises: SettingsError."""
    schedule = schedule or Schedule()
    plan = plan or SweepPlan(delete=config.janitor_sweep is SweepMode.DELETE)
    stop = stop_asked()
    state = State()
    async with contextlib.AsyncExitStack() as stack:
        stores = await stack.enter_async_context(connected(config, schedule))
        await check_keys(stores)
        if config.janitor_port is not None:
            port = await stack.enter_async_context(health.served(state, config.janitor_port))
            log.info("state_served", url=f"http://127.0.0.1:{port}/health")
        log.info("janitor_started", sweep=config.janitor_sweep)
        found = periodic_jobs(stores, state, schedule)
        if config.janitor_sweep is not SweepMode.OFF:
            work = partial(jobs.sweep_bucket, plan, stores.database, stores.bucket, state)
            found.append(Job(name="sweep", work=work, seconds=schedule.sweep))
        await repeat(found, state, stop, grace=GRACE_SECONDS)
    log.info("janitor_stopped", state=state.document())


def periodic_jobs(stores: Stores, state: State, schedule: Schedule) -> list[Job]:
    """The jobs that run in every mode."""
    database, bucket = stores.database, stores.bucket
    return [
        Job(name="reap", work=partial(jobs.reap, database, state), seconds=schedule.reap),
        Job(
            name="delete_objects",
            work=partial(jobs.delete_objects, database, bucket, state),
            seconds=schedule.delete,
        ),
        Job(
            name="prune_results",
            work=partial(jobs.prune_results, database, state),
            seconds=schedule.prune,
        ),
        Job(
            name="prune_webhooks",
            work=partial(jobs.prune_webhooks, database, state),
            seconds=schedule.prune,
        ),
        Job(
            name="check_ledger",
            work=partial(jobs.check_ledger, database, state),
            seconds=schedule.ledger,
        ),
    ]


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
