"""Objects go with their rows: the outbox of deletions, and what the sweeper may call an orphan."""

import asyncio
import uuid
from typing import Any

import psycopg
import pytest


pytestmark = pytest.mark.usefixtures("all_is_paid")

HOUR = 3600.0


async def take(service: Any, **arguments: Any) -> list[str]:
    """Prefixes that a janitor is given now."""
    rows = await service.table("take_object_deletions", **arguments)
    return sorted(row["prefix"] for row in rows)


async def test_a_deleted_result_leaves_its_folder(owner: Any, service: Any) -> None:
    """One row of the outbox, for that task's folder alone; the upload stays."""
    task = await owner.submit()
    assert await take(service) == []
    await owner.call("delete_result", p_id=task["id"])
    assert await take(service) == [f"results/{owner.id}/{task['id']}/"]


async def test_a_refused_deletion_leaves_nothing(
    owner: Any, stranger: Any, service: Any, refused: Any
) -> None:
    """Negative control: a user who may not delete the row does not delete its objects."""
    task = await owner.submit()
    with refused("PT404", "not_found"):
        await stranger.call("delete_result", p_id=task["id"])
    assert await take(service) == []


async def test_what_a_zombie_writes_later_goes_too(
    owner: Any, machine: Any, service: Any, skip: Any
) -> None:
    """A task that was at work is swept once more, after its worker must have ended."""
    task = await owner.submit()
    await machine.claim()
    await owner.call("delete_result", p_id=task["id"])
    folder = f"results/{owner.id}/{task['id']}/"
    for row in await service.table("take_object_deletions"):
        await service.call("finish_object_deletion", p_id=row["id"])
    await skip(HOUR + 1)
    assert await take(service) == [folder]


async def test_a_deleted_user_leaves_both_folders(
    owner: Any, stranger: Any, service: Any, operator: Any
) -> None:
    """Uploads and results of that user go, nobody else's."""
    await owner.submit()
    await stranger.submit()
    await operator.rows("delete from auth.users where id = %s", owner.id)
    taken = await take(service)
    assert {f"uploads/{owner.id}/", f"results/{owner.id}/"} <= set(taken)
    assert all(f"/{owner.id}/" in prefix for prefix in taken)


async def test_what_is_taken_is_not_given_twice(owner: Any, service: Any, skip: Any) -> None:
    """Until the lease is over; then a janitor that died is stood in for."""
    await owner.call("delete_result", p_id=(await owner.submit())["id"])
    first = await take(service, p_lease_seconds=60)
    assert (len(first), await take(service)) == (1, [])
    await skip(61)
    assert await take(service) == first


async def test_concurrent_janitors_never_share_a_folder(owner: Any, service: Any) -> None:
    """Four janitors over twenty folders take each once."""
    for task in await owner.queue(20):
        await owner.call("delete_result", p_id=task)
    taken = await asyncio.gather(*(take(service, p_limit=10) for _ in range(4)))
    folders = [prefix for each in taken for prefix in each]
    assert (len(folders), len(set(folders))) == (20, 20)


async def test_a_finished_deletion_stays_finished(
    owner: Any, service: Any, skip: Any, refused: Any
) -> None:
    """Again is a `duplicate`; one that never was is no deletion."""
    await owner.call("delete_result", p_id=(await owner.submit())["id"])
    [row] = await service.table("take_object_deletions")
    finish = {"p_id": row["id"]}
    assert [await service.call("finish_object_deletion", **finish) for _ in range(2)] == [
        "ok",
        "duplicate",
    ]
    await skip(HOUR)
    assert await take(service) == []
    with refused("PT404", "not_found"):
        await service.call("finish_object_deletion", p_id=row["id"] + 1)


@pytest.mark.parametrize("prefix", ["", "results/", "uploads/x/", "results/../"])
async def test_the_outbox_never_holds_more_than_a_folder(operator: Any, prefix: str) -> None:
    """The schema itself refuses a prefix that would empty the bucket."""
    with pytest.raises(psycopg.errors.CheckViolation):
        await operator.rows(
            "insert into segmentation.object_deletions (prefix) values (%s)", prefix
        )


async def orphans(service: Any, *keys: str) -> list[str]:
    """Those of *keys* that no row needs."""
    query = """
        select * from public.orphaned_objects(array(select jsonb_array_elements_text(%s)))
    """
    rows = await service.rows(query, list(keys))
    return [row["key"] for row in rows]


def result_key(claim: Any, name: str = "mask.png") -> str:
    """Where an attempt's object lies."""
    return f"results/{claim['user_id']}/{claim['id']}/{claim['token']}/{name}"


async def test_a_live_object_is_no_orphan(owner: Any, machine: Any, service: Any) -> None:
    """Of the winner, of an open attempt, or read by a task: never named."""
    await owner.submit()
    [won] = await machine.claim()
    await machine.complete(won)
    waits = await owner.submit()
    await owner.submit()
    [held] = await machine.claim()
    names = ("manifest.json", "mask.png", "overlay.webp")
    keys = [result_key(claim, name) for claim in (won, held) for name in names]
    keys += [claim["source_image_url"] for claim in (won, held)] + [waits["source_image_url"]]
    assert await orphans(service, *keys) == []


async def test_what_no_row_needs_is_an_orphan(
    owner: Any, machine: Any, service: Any, pass_lease: Any, due_now: Any
) -> None:
    """Objects of attempts that lost, of deleted and failed tasks; an upload nobody reads."""
    await owner.submit()
    [lost] = await machine.claim()
    await pass_lease(lost["token"])
    await machine.call("reap_tasks")
    await due_now()
    [won] = await machine.claim()
    await machine.complete(won)
    [deleted, failed] = [await owner.submit() for _ in range(2)]
    claims = await machine.claim(2)
    await owner.call("delete_result", p_id=deleted["id"])
    failure = {"p_token": claims[1]["token"], "p_error_code": "invalid_image"}
    await machine.call("fail_task", **failure)
    dead = [result_key(claim) for claim in (lost, *claims)]
    dead += [deleted["source_image_url"], owner.upload("never")]
    live = [result_key(won), failed["source_image_url"]]
    assert await orphans(service, *dead, *live) == dead


async def test_whose_folder_it_is_counts(
    owner: Any, stranger: Any, machine: Any, service: Any
) -> None:
    """A key with the right task and token under another user's name is nobody's."""
    await owner.submit()
    [claim] = await machine.claim()
    wrong = result_key(claim).replace(owner.id, stranger.id)
    await machine.complete(claim)
    assert await orphans(service, wrong) == [wrong]


@pytest.mark.parametrize(
    "key",
    [
        "",
        "weights/model.bin",
        "results/x/y/1/mask.png",
        "results/{user}/mask.png",
        "results/{user}/{task}/1/deeper/mask.png",
        "results/{user}/{task}/99999999999999999999/mask.png",
        "results/{user}/{task}/-1/mask.png",
        "uploads/{user}",
        "uploads/{user}/deeper/a.png",
        "uploads/../results/{user}/a.png",
    ],
)
async def test_what_is_no_key_of_ours_is_left_alone(service: Any, key: str) -> None:
    """The sweeper is never told to delete what it does not know; nor does a key break it."""
    assert await orphans(service, key.format(user=uuid.uuid4(), task=uuid.uuid4())) == []


async def test_sweeping_is_for_the_service_key(owner: Any, machine: Any) -> None:
    """Neither users nor machines learn of keys or take deletions."""
    calls = (
        "orphaned_objects('{}')",
        "take_object_deletions()",
        "finish_object_deletion(1)",
        "prune_results()",
    )
    for call in calls:
        for caller in (owner, machine):
            with pytest.raises(psycopg.errors.InsufficientPrivilege):
                await caller.rows(f"select public.{call}")
