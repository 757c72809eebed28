"""The sweep takes what no row needs, and nothing else."""

from collections.abc import Sequence
from datetime import timedelta

import pytest
from janitors import NAMES, House
from typing_extensions import override

from devstack.testing import SignedUpUser
from janitor.housekeeping import DoneTask, Housekeeping
from janitor.state import State
from janitor.sweep import SweepPlan, sweep
from janitor.sweeping import Sweeping
from janitor.swept import SweepReport


NOW = timedelta(0)


def plan(
    *, delete: bool = True, age: timedelta = NOW, uploads: timedelta = NOW, limit: int = 100
) -> SweepPlan:
    """A sweep of everything, whatever its age."""
    return SweepPlan(delete=delete, results_age=age, uploads_age=uploads, limit=limit)


async def swept(house: House, how: SweepPlan) -> SweepReport:
    """Sweep the house."""
    return await sweep(how, house.database, house.bucket)


async def zombie(house: House, user: SignedUpUser) -> str:
    """Let a first attempt write and lose its lease, and a second one finish; the first's folder."""
    await house.pending_task(user)
    first = await house.claim()
    left = await house.deposit(first)
    await house.service("release_task", p_token=first["token"])
    second = await house.claim()
    await house.settle(second, await house.deposit(second))
    return left


async def test_what_a_zombie_left_goes_and_the_winner_stays(
    house: House, user: SignedUpUser
) -> None:
    """Of two attempts' objects only the loser's are orphans."""
    left = await zombie(house, user)
    before = await house.keys()

    report = await swept(house, plan())

    assert await house.keys() == before - {left + name for name in NAMES}
    assert (report.orphans, report.deleted) == (3, 3)


async def test_an_attempt_at_work_is_left_alone(house: House, user: SignedUpUser) -> None:
    """What an open attempt has written is no orphan, though no row names it yet."""
    await house.pending_task(user)
    prefix = await house.deposit(await house.claim())

    report = await swept(house, plan())

    assert report.orphans == 0
    assert prefix + NAMES[0] in await house.keys()


async def test_unused_uploads_go_and_used_ones_stay(house: House, user: SignedUpUser) -> None:
    """An upload that a row reads stays, whatever the row's status; an unused one goes."""
    unused = await house.upload(user, "1")
    await house.pending_task(user)

    await swept(house, plan())

    keys = await house.keys()
    assert unused not in keys
    assert len(keys) == 1


async def test_a_dry_run_deletes_nothing(house: House, user: SignedUpUser) -> None:
    """A plan counts what a sweep would delete, with its bytes and samples, and deletes nothing."""
    left = await zombie(house, user)
    before = await house.keys()

    report = await swept(house, plan(delete=False))

    assert await house.keys() == before
    results = report.places[0]
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
    house: House, user: SignedUpUser, how: SweepPlan, gone: int
) -> None:
    """Results and uploads are swept from an age of their own on."""
    await zombie(house, user)
    await house.upload(user, "1")
    before = await house.keys()

    await swept(house, how)

    assert len(before - await house.keys()) == gone


async def test_a_run_deletes_no_more_than_its_limit(house: House, user: SignedUpUser) -> None:
    """A capped run says so; the next one goes on, and the last is not capped."""
    await zombie(house, user)
    before = await house.keys()

    runs = [await swept(house, plan(limit=2)) for _ in range(2)]

    assert [(run.deleted, run.capped) for run in runs] == [(2, True), (1, False)]
    assert len(before - await house.keys()) == 3


async def test_more_than_a_page_is_swept(house: House, user: SignedUpUser) -> None:
    """Of 1,203 objects in two pages and three questions the one that is needed stays."""
    names = [f"uploads/{user.id}/{number:064x}.png" for number in range(1, 1203)]
    await house.pending_task(user)
    for start in range(0, len(names), 200):
        await write(house, names[start : start + 200])

    report = await swept(house, plan(limit=10_000))

    assert report.deleted == 1202
    assert len(await house.keys()) == 1


async def test_what_is_not_ours_is_never_deleted(house: House) -> None:
    """Other folders, and keys of another shape, are left alone though no row names them."""
    strange = ["weights/sam3.pt", "results/readme.txt", "uploads/x/y.png", "archive/2026/a.ndjson"]
    await write(house, strange)

    await swept(house, plan())

    for key in strange:
        await house.bucket.head(key)
        await house.bucket.delete(key)


class CallsAllOrphans(Housekeeping):
    """A database that calls every key an orphan, as an empty one would."""

    def __init__(self) -> None:
        """Know nobody."""

    @override
    async def orphans(self, keys: Sequence[str]) -> set[str]:
        return set(keys)

    @override
    async def done_tasks(self, limit: int) -> list[DoneTask]:
        return []


async def test_what_is_not_ours_stays_even_if_the_database_is_wrong(house: House) -> None:
    """The janitor's own lock: a key of another shape is not deleted whatever is said of it."""
    strange = ["results/readme.txt", "uploads/x/y.png"]
    await write(house, strange)

    report = await sweep(plan(), CallsAllOrphans(), house.bucket)

    assert report.deleted == 0
    for key in strange:
        await house.bucket.delete(key)


async def test_a_wrong_database_empties_the_bucket_up_to_the_limit(
    house: House, user: SignedUpUser
) -> None:
    """Negative control: without the database's word a needed object goes; the limit bounds it."""
    await house.done_task(user)

    report = await sweep(plan(limit=1), CallsAllOrphans(), house.bucket)

    assert report.deleted == 1
    assert len(await house.keys()) == 3


async def test_a_missing_manifest_is_reported(house: House, user: SignedUpUser) -> None:
    """A done row whose manifest is gone is named, and a right one is not."""
    await house.done_task(user)
    task_id = await house.done_task(user)
    (row,) = await house.rows("select * from segmentation_results where id = %s", task_id)
    await house.bucket.delete(row["manifest_url"])

    report = await swept(house, plan(delete=False))

    assert report.missing_manifests == [row["manifest_url"]]
    assert report.tasks_checked == 2


async def test_the_running_process_keeps_the_last_sweep(
    house: House, user: SignedUpUser, state: State
) -> None:
    """Sweeping as a chore leaves its report in the state; a missing manifest makes it `wrong`."""
    await zombie(house, user)

    more = await Sweeping(plan(delete=False), house.database, house.bucket, state)()

    assert more is False
    assert state.document()["sweep"]["orphans"] == 3
    assert state.status == "ok"
    assert state.sweep is not None
    state.sweep.missing_manifests.append("results/…")
    assert state.status == "wrong"


async def write(house: House, keys: list[str]) -> None:
    """Put objects."""
    for key in keys:
        await house.bucket.put(key, b"x", "image/png")
