"""The sweep deletes what no row needs, and nothing else."""

from collections.abc import Sequence
from datetime import timedelta

import pytest
from janitors import NAMES, Platform
from typing_extensions import override

from devstack.testing import SignedUpUser
from janitor import jobs
from janitor.database import Database, DoneTask
from janitor.health import State
from janitor.sweep import SweepPlan, SweepReport, sweep


NOW = timedelta(0)


def plan(
    *, delete: bool = True, age: timedelta = NOW, uploads: timedelta = NOW, limit: int = 100
) -> SweepPlan:
    """A sweep of everything, whatever its age."""
    return SweepPlan(delete=delete, results_age=age, uploads_age=uploads, limit=limit)


async def swept(platform: Platform, how: SweepPlan) -> SweepReport:
    """Sweep the bucket."""
    return await sweep(how, platform.database, platform.bucket)


async def zombie(platform: Platform, user: SignedUpUser) -> str:
    """Let a first attempt write and lose its lease, and a second one finish; the first's folder."""
    await platform.pending_task(user)
    first = await platform.claim()
    left = await platform.deposit(first)
    await platform.service("release_task", p_token=first["token"])
    second = await platform.claim()
    await platform.settle(second, await platform.deposit(second))
    return left


async def test_what_a_zombie_left_goes_and_the_winner_stays(
    platform: Platform, user: SignedUpUser
) -> None:
    """Of two attempts' objects only the loser's are orphans."""
    left = await zombie(platform, user)
    before = await platform.keys()

    report = await swept(platform, plan())

    assert await platform.keys() == before - {left + name for name in NAMES}
    assert (report.orphans, report.deleted) == (3, 3)


async def test_an_attempt_at_work_is_left_alone(platform: Platform, user: SignedUpUser) -> None:
    """What an open attempt has written is no orphan, though no row names it yet."""
    await platform.pending_task(user)
    prefix = await platform.deposit(await platform.claim())

    report = await swept(platform, plan())

    assert report.orphans == 0
    assert prefix + NAMES[0] in await platform.keys()


async def test_unused_uploads_go_and_used_ones_stay(platform: Platform, user: SignedUpUser) -> None:
    """An upload that a row reads stays, whatever the row's status; an unused one goes."""
    unused = await platform.upload(user, "1")
    await platform.pending_task(user)

    await swept(platform, plan())

    keys = await platform.keys()
    assert unused not in keys
    assert len(keys) == 1


async def test_a_dry_run_deletes_nothing(platform: Platform, user: SignedUpUser) -> None:
    """A plan counts what a sweep would delete, with its bytes and samples, and deletes nothing."""
    left = await zombie(platform, user)
    before = await platform.keys()

    report = await swept(platform, plan(delete=False))

    assert await platform.keys() == before
    results = report.areas[0]
    assert (results.seen, results.old, results.orphans, results.deleted) == (6, 6, 3, 0)
    assert results.orphan_bytes == 3 * len(b"result")
    assert set(results.samples) == {left + name for name in NAMES}
    assert results.oldest is not None


@pytest.mark.parametrize(
    ("how", "gone"),
    [
        (plan(age=timedelta(hours=1), uploads=timedelta(hours=1)), 0),
        (plan(uploads=timedelta(hours=1)), 3),
        (plan(age=timedelta(hours=1)), 1),
        (plan(), 4),
    ],
    ids=["both young", "uploads young", "results young", "neither"],
)
async def test_what_is_young_is_left_alone(
    platform: Platform, user: SignedUpUser, how: SweepPlan, gone: int
) -> None:
    """Results and uploads each have their own least age."""
    await zombie(platform, user)
    await platform.upload(user, "1")
    before = await platform.keys()

    await swept(platform, how)

    assert len(before - await platform.keys()) == gone


async def test_a_run_deletes_no_more_than_its_limit(platform: Platform, user: SignedUpUser) -> None:
    """A capped run says so; the next one goes on, and the last is not capped."""
    await zombie(platform, user)
    before = await platform.keys()

    runs = [await swept(platform, plan(limit=2)) for _ in range(2)]

    assert [(run.deleted, run.capped) for run in runs] == [(2, True), (1, False)]
    assert len(before - await platform.keys()) == 3


async def test_more_than_a_page_is_swept(platform: Platform, user: SignedUpUser) -> None:
    """Of 1,203 objects in two pages and three questions the one that is needed stays."""
    names = [f"uploads/{user.id}/{number:064x}.png" for number in range(1, 1203)]
    await platform.pending_task(user)
    for start in range(0, len(names), 200):
        await write(platform, names[start : start + 200])

    report = await swept(platform, plan(limit=10_000))

    assert report.deleted == 1202
    assert len(await platform.keys()) == 1


async def test_what_is_not_ours_is_never_deleted(platform: Platform) -> None:
    """Other folders, and keys of another shape, are left alone though no row names them."""
    strange = ["weights/sam3.pt", "results/readme.txt", "uploads/x/y.png", "archive/2026/a.ndjson"]
    await write(platform, strange)

    await swept(platform, plan())

    for key in strange:
        await platform.bucket.head(key)
        await platform.bucket.delete(key)


class CallsAllOrphans(Database):
    """A database that calls every key an orphan, as an empty one would."""

    def __init__(self) -> None:
        """No connection is needed."""

    @override
    async def orphans(self, keys: Sequence[str]) -> set[str]:
        return set(keys)

    @override
    async def done_tasks(self, limit: int) -> list[DoneTask]:
        return []


async def test_what_is_not_ours_stays_even_if_the_database_is_wrong(platform: Platform) -> None:
    """The janitor's own check: a key of another shape stays, whatever the database says."""
    strange = ["results/readme.txt", "uploads/x/y.png"]
    await write(platform, strange)

    report = await sweep(plan(), CallsAllOrphans(), platform.bucket)

    assert report.deleted == 0
    for key in strange:
        await platform.bucket.delete(key)


async def test_a_wrong_database_empties_the_bucket_up_to_the_limit(
    platform: Platform, user: SignedUpUser
) -> None:
    """Negative control: without the database's word a needed object goes; the limit bounds it."""
    await platform.done_task(user)

    report = await sweep(plan(limit=1), CallsAllOrphans(), platform.bucket)

    assert report.deleted == 1
    assert len(await platform.keys()) == 3


async def test_a_missing_manifest_is_reported(platform: Platform, user: SignedUpUser) -> None:
    """A done row whose manifest is gone is named, and a right one is not."""
    await platform.done_task(user)
    task_id = await platform.done_task(user)
    (row,) = await platform.rows("select * from segmentation_results where id = %s", task_id)
    await platform.bucket.delete(row["manifest_url"])

    report = await swept(platform, plan(delete=False))

    assert report.missing_manifests == [row["manifest_url"]]
    assert report.tasks_checked == 2


async def test_the_running_process_keeps_the_last_sweep(
    platform: Platform, user: SignedUpUser, state: State
) -> None:
    """Sweeping as a job leaves its report in the state; a missing manifest makes it `wrong`."""
    await zombie(platform, user)

    more = await jobs.sweep_bucket(plan(delete=False), platform.database, platform.bucket, state)

    assert more is False
    assert state.document()["sweep"]["orphans"] == 3
    assert state.status == "ok"
    assert state.sweep is not None
    state.sweep.missing_manifests.append("results/…")
    assert state.status == "wrong"


async def write(platform: Platform, keys: list[str]) -> None:
    """Put objects."""
    for key in keys:
        await platform.bucket.put(key, b"x", "image/png")
