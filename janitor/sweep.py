"""The sweep: objects that no row needs, found by listing the bucket."""

from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Final

from adapters.objects import ListedObject, ObjectStore
from janitor import manifests
from janitor.housekeeping import Housekeeping
from janitor.places import RESULTS, UPLOADS, is_sweepable
from janitor.swept import SweepReport, Swept


ASKED_AT_ONCE: Final = 500
"""Keys in one question to the database."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SweepPlan:
    """How to sweep."""

    delete: bool
    """False: count only."""
    results_age: timedelta
    """Younger objects are left alone: a worker may still be about to name them in a row."""
    uploads_age: timedelta
    """Younger uploads are left alone: their owner may be about to ask something of them."""
    limit: int
    """Most objects to delete in one run."""


async def sweep(plan: SweepPlan, database: Housekeeping, bucket: ObjectStore) -> SweepReport:
    """
    Look at the whole bucket, and delete what *plan* allows.

    Orphans are deleted right after the database called them so, batch by batch, so that next to
    no time passes in which an old upload may come into use again.
    Raises: ObjectError, RestError; what was deleted until then is gone, and a new run goes on.
    """
    report = SweepReport(dry_run=not plan.delete)
    now = datetime.now(UTC)
    for prefix, age in ((RESULTS, plan.results_age), (UPLOADS, plan.uploads_age)):
        place = Swept(prefix)
        report.places.append(place)
        async for batch in _old(bucket, place, now - age):
            orphans = await _orphans(database, batch)
            for orphan in orphans:
                place.add(orphan)
            if plan.delete:
                room = plan.limit - report.deleted
                await _delete(bucket, place, orphans[:room])
                if len(orphans) > room:
                    report.capped = True
                    break
    await manifests.look_for_missing(report, database, bucket)
    return report


async def _old(
    bucket: ObjectStore, place: Swept, written_until: datetime
) -> AsyncIterator[list[ListedObject]]:
    """Objects of the place that are old enough, in batches for one question."""
    batch: list[ListedObject] = []
    async for page in bucket.pages(place.prefix):
        place.seen += len(page)
        old = [item for item in page if item.modified_at <= written_until]
        place.old += len(old)
        batch += old
        while len(batch) >= ASKED_AT_ONCE:
            yield batch[:ASKED_AT_ONCE]
            batch = batch[ASKED_AT_ONCE:]
    if batch:
        yield batch


async def _orphans(database: Housekeeping, batch: Sequence[ListedObject]) -> list[ListedObject]:
    named = await database.orphans([item.key for item in batch])
    return [item for item in batch if item.key in named and is_sweepable(item.key)]


async def _delete(bucket: ObjectStore, place: Swept, orphans: Sequence[ListedObject]) -> None:
    await bucket.delete_many([orphan.key for orphan in orphans])
    place.deleted += len(orphans)
