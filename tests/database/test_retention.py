"""What goes with time: final rows by their tier's days, and nothing a day old that is promised."""

from typing import Any

import psycopg
import pytest


pytestmark = pytest.mark.usefixtures("all_is_paid")

DAY = 86_400.0


@pytest.fixture
async def kept_a_week(tiers: Any) -> None:
    """Free users' results are kept for seven days."""
    await tiers("free", retention_days=7)


async def done(owner: Any, machine: Any, **arguments: Any) -> str:
    """A task that is done; its id."""
    task = await owner.submit(**arguments)
    [claim] = await machine.claim()
    await machine.complete(claim)
    return str(task["id"])


async def left(operator: Any) -> set[str]:
    """Ids of the rows that are there."""
    rows = await operator.rows("select id from public.segmentation_results")
    return {str(row["id"]) for row in rows}


@pytest.mark.usefixtures("kept_a_week")
async def test_final_rows_go_when_their_days_are_over(
    owner: Any, machine: Any, service: Any, operator: Any, skip: Any
) -> None:
    """Older than the tier's days: gone; younger: kept. The ledger keeps both."""
    await done(owner, machine)
    await skip(5 * DAY)
    young = await done(owner, machine)
    await skip(3 * DAY)
    assert await service.call("prune_results") == 1
    assert await left(operator) == {young}
    captures = "select count(*) from public.usage_logs where action = 'capture'"
    assert await owner.value(captures) == 2


@pytest.mark.usefixtures("kept_a_week")
async def test_what_is_not_final_is_never_pruned(
    owner: Any, machine: Any, service: Any, operator: Any, skip: Any
) -> None:
    """A task that waits or is at work stays, however old."""
    works, waits = await owner.submit(), await owner.submit()
    await machine.claim()
    await skip(365 * DAY)
    assert await service.call("prune_results") == 0
    assert await left(operator) == {works["id"], waits["id"]}


async def test_without_days_everything_is_kept(
    owner: Any, machine: Any, service: Any, skip: Any
) -> None:
    """Negative control: a tier that names no days keeps for ever; so do all at first."""
    await done(owner, machine)
    await skip(3650 * DAY)
    assert await service.call("prune_results") == 0


async def test_nothing_younger_than_a_day_is_pruned(
    owner: Any, machine: Any, service: Any, operator: Any, tiers: Any, skip: Any
) -> None:
    """A task is kept as long as its idempotency key, also in the shortest tier."""
    await tiers("free", retention_days=1)
    keyed = {"p_idempotency_key": "k", "p_source_image_url": owner.upload()}
    task = await done(owner, machine, **keyed)
    await skip(DAY - 60)
    assert await service.call("prune_results") == 0
    assert (await owner.submit(**keyed))["id"] == task
    await skip(120)
    assert await service.call("prune_results") == 1
    with pytest.raises(psycopg.errors.CheckViolation):
        await operator.rows("update segmentation.tiers set retention_days = 0")


@pytest.mark.usefixtures("kept_a_week")
async def test_pruning_goes_by_the_tier_of_the_owner(
    owner: Any, busy_owner: Any, stranger: Any, machine: Any, service: Any, operator: Any, skip: Any
) -> None:
    """A week for free users does not touch what an internal user has."""
    kept = await done(busy_owner, machine)
    await done(stranger, machine)
    await skip(8 * DAY)
    assert await service.call("prune_results") == 1
    assert await left(operator) == {kept}


@pytest.mark.usefixtures("kept_a_week")
async def test_pruning_keeps_to_its_limit(
    owner: Any, machine: Any, service: Any, skip: Any
) -> None:
    """The oldest first, so many at a time, until none is left."""
    for _ in range(5):
        await done(owner, machine)
    await skip(8 * DAY)
    assert [await service.call("prune_results", p_limit=2) for _ in range(4)] == [2, 2, 1, 0]


@pytest.mark.usefixtures("kept_a_week")
async def test_pruned_results_lose_their_objects(
    owner: Any, machine: Any, service: Any, skip: Any
) -> None:
    """What the database forgets, the bucket forgets: one folder in the outbox for each row."""
    task = await done(owner, machine)
    await skip(8 * DAY)
    await service.call("prune_results")
    taken = await service.table("take_object_deletions")
    assert [row["prefix"] for row in taken] == [f"results/{owner.id}/{task}/"]


async def test_the_key_of_a_deleted_task_stays_used_for_its_day(
    owner: Any, machine: Any, service: Any, refused: Any, skip: Any
) -> None:
    """A late retry of a request is not queued and charged again because its row was deleted."""
    keyed = {"p_idempotency_key": "k", "p_source_image_url": owner.upload()}
    await owner.call("delete_result", p_id=await done(owner, machine, **keyed))
    with refused("PT422", "idempotency_conflict"):
        await owner.submit(**keyed)
    await skip(DAY + 1)
    await service.call("prune_results")
    assert (await owner.submit(**keyed))["status"] == "pending"


@pytest.mark.parametrize("limit", [0, None])
async def test_a_limit_without_sense_is_refused(service: Any, refused: Any, limit: Any) -> None:
    """`limit null` would take everything."""
    with refused("PT400", "invalid_request"):
        await service.call("prune_results", p_limit=limit)
