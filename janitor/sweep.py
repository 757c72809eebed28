"""Finds objects that no row needs by listing the bucket, and deletes them if asked."""

import re
from collections.abc import AsyncIterator, Sequence
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any, Final

from adapters.objects import ListedObject, ObjectNotFound, ObjectStore
from janitor.database import Database, DoneTask


RESULTS: Final = "results/"
UPLOADS: Final = "uploads/"
UUID: Final = "[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}"

KEYS_PER_QUESTION: Final = 500
"""To the database."""

MANIFEST_SAMPLE: Final = 200
"""Done tasks whose manifest is looked for in each sweep, with one HEAD each."""

MOST_SAMPLES: Final = 5

_NAME: Final = r"[^/]+"
_OBJECT: Final = re.compile(f"(?:{UPLOADS}{UUID}/{_NAME}|{RESULTS}{UUID}/{UUID}/[0-9]+/{_NAME})")


@dataclass(frozen=True, slots=True, kw_only=True)
class SweepPlan:
    delete: bool
    """False: count only."""
    results_age: timedelta = timedelta(hours=48)
    """Younger objects are left alone: a worker may still be about to name them in a row."""
    uploads_age: timedelta = timedelta(hours=168)
    """Younger uploads are left alone: their owner may still be about to use them."""
    limit: int = 10_000
    """Most objects to delete in one run."""


@dataclass(slots=True)
class SweptArea:
    """One part of the bucket, and what was found there."""

    prefix: str
    seen: int = 0
    """Objects listed."""
    old: int = 0
    """Of them, old enough to be asked about."""
    orphans: int = 0
    orphan_bytes: int = 0
    deleted: int = 0
    oldest: datetime | None = None
    """When the oldest orphan was written."""
    samples: list[str] = field(default_factory=list)
    """Some orphans' keys."""

    def add(self, orphan: ListedObject) -> None:
        self.orphans += 1
        self.orphan_bytes += orphan.size
        if self.oldest is None or orphan.modified_at < self.oldest:
            self.oldest = orphan.modified_at
        if len(self.samples) < MOST_SAMPLES:
            self.samples.append(orphan.key)

    def document(self) -> dict[str, Any]:
        return {**asdict(self), "oldest": self.oldest.isoformat() if self.oldest else None}


@dataclass(slots=True)
class SweepReport:
    dry_run: bool
    areas: list[SweptArea] = field(default_factory=list)
    capped: bool = False
    """It stopped at its limit; there is more."""
    tasks_checked: int = 0
    """Done tasks whose manifest was looked for."""
    missing_manifests: list[str] = field(default_factory=list)
    """Manifests that a done row names and the bucket does not have."""

    @property
    def orphans(self) -> int:
        return sum(area.orphans for area in self.areas)

    @property
    def deleted(self) -> int:
        return sum(area.deleted for area in self.areas)

    def document(self) -> dict[str, Any]:
        """As JSON, which `s3 janitor sweep --json` prints."""
        return {
            "dry_run": self.dry_run,
            "areas": [area.document() for area in self.areas],
            "orphans": self.orphans,
            "deleted": self.deleted,
            "capped": self.capped,
            "tasks_checked": self.tasks_checked,
            "missing_manifests": self.missing_manifests,
        }


async def sweep(plan: SweepPlan, database: Database, bucket: ObjectStore) -> SweepReport:
    """
    Look at the whole bucket, and delete what *plan* allows.

    Orphans are deleted right after the database's answer, batch by batch: in the time between the
    two an old upload may come into use again.
    Raises: ObjectError, RestError; what was deleted until then is gone, and a new run goes on.
    """
    report = SweepReport(dry_run=not plan.delete)
    now = datetime.now(UTC)
    for prefix, age in ((RESULTS, plan.results_age), (UPLOADS, plan.uploads_age)):
        area = SweptArea(prefix)
        report.areas.append(area)
        async for batch in _old_objects(bucket, area, now - age):
            orphans = await _orphans(database, batch)
            for orphan in orphans:
                area.add(orphan)
            if plan.delete:
                room = plan.limit - report.deleted
                await _delete(bucket, area, orphans[:room])
                if len(orphans) > room:
                    report.capped = True
                    break
    await _look_for_manifests(report, database, bucket)
    return report


async def _old_objects(
    bucket: ObjectStore, area: SweptArea, written_until: datetime
) -> AsyncIterator[list[ListedObject]]:
    """Objects of the area that are old enough, in batches for one question."""
    batch: list[ListedObject] = []
    async for page in bucket.pages(area.prefix):
        area.seen += len(page)
        old = [item for item in page if item.modified_at <= written_until]
        area.old += len(old)
        batch += old
        while len(batch) >= KEYS_PER_QUESTION:
            yield batch[:KEYS_PER_QUESTION]
            batch = batch[KEYS_PER_QUESTION:]
    if batch:
        yield batch


async def _orphans(database: Database, batch: Sequence[ListedObject]) -> list[ListedObject]:
    orphans = await database.orphans([item.key for item in batch])
    return [item for item in batch if item.key in orphans and is_sweepable(item.key)]


def is_sweepable(key: str) -> bool:
    """
    Whether *key* is an upload, or an object of an attempt's results.

    A second check: a fault in the database must not empty the bucket.
    """
    return _OBJECT.fullmatch(key) is not None


async def _delete(bucket: ObjectStore, area: SweptArea, orphans: Sequence[ListedObject]) -> None:
    await bucket.delete_many([orphan.key for orphan in orphans])
    area.deleted += len(orphans)


async def _look_for_manifests(report: SweepReport, database: Database, bucket: ObjectStore) -> None:
    """The other direction: done rows whose manifest is not in the bucket."""
    for task in await database.done_tasks(MANIFEST_SAMPLE):
        report.tasks_checked += 1
        if await _is_missing(task, database, bucket):
            report.missing_manifests.append(task.manifest_url)


async def _is_missing(task: DoneTask, database: Database, bucket: ObjectStore) -> bool:
    try:
        await bucket.head(task.manifest_url)
    except ObjectNotFound:
        # Asked again, because its owner may have deleted the result since the sample was taken.
        return await database.still_done(task)
    return False
