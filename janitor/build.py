"""Opens what a janitor needs, and sets its chores out."""

import contextlib
from collections.abc import AsyncIterator
from dataclasses import dataclass
from datetime import timedelta

from adapters import rest
from adapters.objects import ObjectNotFound, ObjectRefused, ObjectStore, ObjectStoreUnavailable
from janitor.chores import Chore
from janitor.deletions import Deletions
from janitor.housekeeping import Housekeeping
from janitor.ledger import LedgerCheck
from janitor.reaping import Reaping
from janitor.retention import Retention, WebhookRetention
from janitor.settings import JanitorSettings, SweepMode
from janitor.state import State
from janitor.sweep import SweepPlan
from janitor.sweeping import Sweeping
from runtime import logs
from runtime.settings import SettingsError


log = logs.get_logger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class Doors:
    """The two places where a janitor works."""

    database: Housekeeping
    bucket: ObjectStore


@contextlib.asynccontextmanager
async def opened(config: JanitorSettings) -> AsyncIterator[Doors]:
    """The database and the bucket, reached with the keys of *config*."""
    key = config.supabase_service_key.get_secret_value()
    async with (
        rest.Rest(url=config.supabase_url, key=key) as door,
        ObjectStore(
            endpoint=config.r2_endpoint,
            access_key_id=config.r2_access_key_id,
            secret_access_key=config.r2_secret_access_key.get_secret_value(),
            bucket=config.r2_bucket,
        ) as bucket,
    ):
        yield Doors(
            database=Housekeeping(door, lease_seconds=config.janitor_lease_seconds), bucket=bucket
        )


async def check_keys(doors: Doors) -> None:
    """
    Use each key once. Raises: SettingsError when one of them is refused.

    A place that does not answer is no fault of the keys: it is logged, and the chores wait for it.
    """
    try:
        await doors.database.check()
    except rest.RestRefused as error:
        msg = (
            "The database refuses SUPABASE_SERVICE_KEY as the service role,"
            f" or lacks the migrations of this version ({error})."
        )
        raise SettingsError(msg) from error
    except rest.RestUnavailable as error:
        log.warning("database_unavailable", error=str(error))
    try:
        await doors.bucket.ping()
    except (ObjectRefused, ObjectNotFound) as error:
        msg = f"The object store refuses R2_ACCESS_KEY_ID or R2_BUCKET ({error})."
        raise SettingsError(msg) from error
    except ObjectStoreUnavailable as error:
        log.warning("object_store_unavailable", error=str(error))


def chores(config: JanitorSettings, doors: Doors, state: State) -> list[Chore]:
    """What the running process does, and how often."""
    found = [
        Chore(
            name="reaping",
            work=Reaping(doors.database, state),
            seconds=config.janitor_reap_seconds,
        ),
        Chore(
            name="deletions",
            work=Deletions(doors.database, doors.bucket, state),
            seconds=config.janitor_delete_seconds,
        ),
        Chore(
            name="retention",
            work=Retention(doors.database, state),
            seconds=config.janitor_prune_seconds,
        ),
        Chore(
            name="webhooks",
            work=WebhookRetention(doors.database, state, days=config.janitor_webhook_days),
            seconds=config.janitor_prune_seconds,
        ),
        Chore(
            name="ledger",
            work=LedgerCheck(doors.database, state),
            seconds=config.janitor_ledger_seconds,
        ),
    ]
    if config.janitor_sweep is not SweepMode.OFF:
        found.append(
            Chore(
                name="sweep",
                work=Sweeping(plan_of(config), doors.database, doors.bucket, state),
                seconds=config.janitor_sweep_seconds,
            )
        )
    return found


def plan_of(config: JanitorSettings) -> SweepPlan:
    """The sweep that the settings ask for."""
    return SweepPlan(
        delete=config.janitor_sweep is SweepMode.DELETE,
        results_age=timedelta(hours=config.janitor_results_age_hours),
        uploads_age=timedelta(hours=config.janitor_uploads_age_hours),
        limit=config.janitor_sweep_limit,
    )
