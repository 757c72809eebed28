"""The sweep's other direction: done rows whose manifest is not in the bucket."""

from typing import Final

from adapters.objects import ObjectNotFound, ObjectStore
from janitor.housekeeping import DoneTask, Housekeeping
from janitor.swept import SweepReport


SAMPLE: Final = 200
"""Done tasks looked at per sweep; a HEAD each."""


async def look_for_missing(
    report: SweepReport, database: Housekeeping, bucket: ObjectStore
) -> None:
    """Write into *report* which of a sample's manifests are missing."""
    for task in await database.done_tasks(SAMPLE):
        report.tasks_checked += 1
        if await _is_missing(task, database, bucket):
            report.missing_manifests.append(task.manifest_url)


async def _is_missing(task: DoneTask, database: Housekeeping, bucket: ObjectStore) -> bool:
    try:
        await bucket.head(task.manifest_url)
    except ObjectNotFound:
        # Asked again, because its owner may have deleted the result since the sample was taken.
        return await database.still_done(task)
    return False
