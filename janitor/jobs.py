"""The jobs of the running process, each one round; they answer whether there may be more to do."""

import asyncio
import re
from typing import Final

from adapters.objects import ObjectStore
from janitor.database import Database, Deletion
from janitor.health import State
from janitor.sweep import RESULTS, UPLOADS, UUID, SweepPlan, sweep
from runtime import logs


log = logs.get_logger(__name__)

REAP_BATCH: Final = 100

PRUNE_BATCH: Final = 500
"""No transaction holds more rows."""

WEBHOOK_DAYS: Final = 30
"""How long a webhook delivery is kept after its end, with its attempts."""

DELETION_BATCH: Final = 32
"""Lines taken at once. Few, so that a lease seldom ends before its line is worked on."""

DELETIONS_AT_ONCE: Final = 8

MOST_MISMATCHES_LOGGED: Final = 50

_FOLDER: Final = re.compile(f"(?:{UPLOADS}{UUID}/|{RESULTS}{UUID}/(?:{UUID}/)?)")


async def reap(database: Database, state: State) -> bool:
    """End silent attempts and cancel late tasks, as listeners do: there may be no listener."""
    count = await database.reap(REAP_BATCH)
    state.reaped_attempts += count
    if count:
        log.warning("attempts_reaped", count=count)
    return count == REAP_BATCH


async def delete_objects(database: Database, bucket: ObjectStore, state: State) -> bool:
    """
    Delete the objects of deleted rows. Raises what failed, after the rest was done.

    Objects first, then the outbox's line: after a crash between the two the line is due again when
    its lease ends, and to delete what is gone is no error.
    """
    taken = await database.take_deletions(DELETION_BATCH)
    slots = asyncio.Semaphore(DELETIONS_AT_ONCE)

    async def one(line: Deletion) -> None:
        if not is_deletable_folder(line.prefix):
            state.refused_prefixes += 1
            log.error("deletion_refused", deletion_id=line.id, prefix=line.prefix)
            return
        async with slots:
            count = await bucket.delete_prefix(line.prefix)
            await database.finish_deletion(line.id)
        state.deleted_objects += count
        log.info("objects_deleted", deletion_id=line.id, prefix=line.prefix, count=count)

    ended = await asyncio.gather(*(one(line) for line in taken), return_exceptions=True)
    faults = [fault for fault in ended if isinstance(fault, BaseException)]
    if faults:
        raise faults[0]
    return len(taken) == DELETION_BATCH


def is_deletable_folder(prefix: str) -> bool:
    """
    Whether *prefix* is one user's uploads or results, or one task's results.

    A second check: a fault in the database must not empty the bucket.
    """
    return _FOLDER.fullmatch(prefix) is not None


async def prune_results(database: Database, state: State) -> bool:
    """Delete rows that their tier keeps no longer; their objects follow through the outbox."""
    count = await database.prune(PRUNE_BATCH)
    state.pruned_results += count
    if count:
        log.info("results_pruned", count=count)
    return count > 0


async def prune_webhooks(database: Database, state: State) -> bool:
    """Delete webhook deliveries that ended long ago, delivered or dead, with their attempts."""
    count = await database.prune_webhooks(WEBHOOK_DAYS, PRUNE_BATCH)
    state.pruned_webhooks += count
    if count:
        log.info("webhooks_pruned", count=count)
    return count > 0


async def check_ledger(database: Database, state: State) -> bool:
    found = await database.mismatches()
    for each in found[:MOST_MISMATCHES_LOGGED]:
        log.error(
            "ledger_mismatch",
            user_id=str(each.user_id) if each.user_id else None,
            result_id=str(each.result_id) if each.result_id else None,
            problem=each.problem,
        )
    if found:
        log.error("ledger_wrong", count=len(found))
    elif state.mismatches:
        log.info("ledger_right_again")
    state.mismatches = found
    return False


async def sweep_bucket(
    plan: SweepPlan, database: Database, bucket: ObjectStore, state: State
) -> bool:
    """Sweep once; what is over the limit waits for the next time."""
    report = await sweep(plan, database, bucket)
    for area in report.areas:
        log.info("bucket_swept", dry_run=report.dry_run, **area.document())
    if report.capped:
        log.warning("sweep_capped", limit=plan.limit)
    for key in report.missing_manifests:
        log.error("manifest_missing", key=key)
    state.sweep = report
    return False
