"""The state machine: each transition, and what it leaves behind."""

import asyncio
from typing import Any

import pytest


pytestmark = pytest.mark.usefixtures("all_is_paid")


async def test_a_task_goes_from_pending_to_done(owner: Any, machine: Any, task_row: Any) -> None:
    """Submit, claim, progress and complete leave a done row that names the winning token."""
    task = await owner.submit()
    assert (task["status"], task["cost"], task["attempt_count"]) == ("pending", 1, 0)
    [claim] = await machine.claim()
    assert str(claim["id"]) == task["id"]
    assert await machine.call("report_progress", p_token=claim["token"], p_progress=0.5) == "ok"
    row = await task_row(task["id"])
    assert (row["status"], row["progress"], row["attempt_count"]) == ("processing", 0.5, 1)
    assert await machine.complete(claim) == "ok"
    row = await task_row(task["id"])
    assert (row["status"], row["progress"], row["instance_count"]) == ("done", 1.0, 2)
    assert f"/{claim['token']}/" in row["manifest_url"]
    assert row["finished_at"] >= row["started_at"]


async def test_a_claim_carries_what_the_worker_needs(owner: Any, machine: Any) -> None:
    """A claim names its token, source, prompts, options, lease and deadline."""
    await owner.submit(p_options={"threshold": 0.3}, p_source_image_url=owner.upload())
    [claim] = await machine.claim(p_lease_seconds=30, p_deadline_seconds=300)
    assert (claim["kind"], claim["prompts"]) == ("image", [{"text": "cat"}])
    assert (claim["source_image_url"], claim["options"]) == (owner.upload(), {"threshold": 0.3})
    assert (claim["deadline_at"] - claim["lease_expires_at"]).total_seconds() == 270


async def test_claims_are_first_come_first_served(owner: Any, machine: Any) -> None:
    """Due tasks are claimed in the order of their arrival, at most as many as asked for."""
    ids = [(await owner.submit())["id"] for _ in range(5)]
    claims = await machine.claim(3) + await machine.claim(3)
    assert [str(claim["id"]) for claim in claims] == ids


async def test_concurrent_claims_never_share_a_task(busy_owner: Any, machine: Any) -> None:
    """Eight claimers over forty tasks open forty attempts, one at each task."""
    await asyncio.gather(*(busy_owner.submit() for _ in range(40)))

    async def drain() -> list[Any]:
        """Claim until nothing is due."""
        taken = []
        while claims := await machine.claim():
            taken += [claim["id"] for claim in claims]
        return taken

    taken = [task for each in await asyncio.gather(*(drain() for _ in range(8))) for task in each]
    assert (len(taken), len(set(taken))) == (40, 40)


@pytest.mark.parametrize(
    "bounds",
    [
        {"limit": 0},
        {"limit": 101},
        {"p_lease_seconds": 0},
        {"p_lease_seconds": 60, "p_deadline_seconds": 30},
        {"limit": None},
        {"p_worker": ""},
    ],
)
async def test_a_claim_out_of_bounds_is_refused(machine: Any, refused: Any, bounds: Any) -> None:
    """A limit or a lease that makes no sense is an error, not an empty answer."""
    with refused("PT400", "invalid_request"):
        await machine.claim(**bounds)


async def test_progress_never_goes_back(owner: Any, machine: Any, task_row: Any) -> None:
    """A report that was overtaken by a later one is ignored."""
    task = await owner.submit()
    [claim] = await machine.claim()
    for share in (0.6, 0.4):
        await machine.call("report_progress", p_token=claim["token"], p_progress=share)
    assert (await task_row(task["id"]))["progress"] == pytest.approx(0.6)


@pytest.mark.parametrize("share", [-0.1, 1.1, None])
async def test_progress_is_a_share(owner: Any, machine: Any, refused: Any, share: Any) -> None:
    """Progress outside 0 to 1 is refused."""
    await owner.submit()
    [claim] = await machine.claim()
    with refused("PT400", "invalid_request"):
        await machine.call("report_progress", p_token=claim["token"], p_progress=share)


async def test_a_pending_task_is_cancelled_at_once(owner: Any, machine: Any, task_row: Any) -> None:
    """A cancelled task is final and is never claimed."""
    task = await owner.submit()
    assert await owner.call("cancel_task", p_id=task["id"]) == "ok"
    assert (await task_row(task["id"]))["status"] == "cancelled"
    assert await machine.claim() == []


async def test_cancelling_a_running_task_takes_it_away(
    owner: Any, machine: Any, task_row: Any
) -> None:
    """After a cancel the worker's renewal and completion are stale."""
    task = await owner.submit()
    [claim] = await machine.claim()
    assert await owner.call("cancel_task", p_id=task["id"]) == "ok"
    assert await machine.call("renew_lease", p_token=claim["token"]) == "stale"
    assert await machine.complete(claim) == "stale"
    row = await task_row(task["id"])
    assert (row["status"], row["manifest_url"]) == ("cancelled", None)


@pytest.mark.parametrize("ending", ["done", "failed", "cancelled"])
async def test_a_final_task_stays_as_it_is(
    owner: Any, machine: Any, task_row: Any, ending: str
) -> None:
    """Cancelling what has ended answers already_final and changes nothing."""
    task = await owner.submit()
    [claim] = await machine.claim()
    if ending == "done":
        await machine.complete(claim)
    elif ending == "failed":
        await machine.call("fail_task", p_token=claim["token"], p_error_code="invalid_image")
    else:
        await owner.call("cancel_task", p_id=task["id"])
    before = await task_row(task["id"])
    assert before["status"] == ending
    assert await owner.call("cancel_task", p_id=task["id"]) == "already_final"
    assert await task_row(task["id"]) == before


async def test_nobody_cancels_or_deletes_for_another(
    owner: Any, stranger: Any, refused: Any
) -> None:
    """Somebody else's task looks like none at all."""
    task = await owner.submit()
    for function in ("cancel_task", "delete_result"):
        with refused("PT404", "not_found"):
            await stranger.call(function, p_id=task["id"])


@pytest.mark.parametrize("claim_count", [0, 1])
async def test_deleting_a_live_task_cancels_it_first(
    owner: Any, machine: Any, operator: Any, claim_count: int
) -> None:
    """The row is gone, the hold is given back, and the worker's token is stale."""
    task = await owner.submit()
    claims = await machine.claim() if claim_count else []
    assert await owner.call("delete_result", p_id=task["id"]) == "ok"
    assert [await machine.complete(claim) for claim in claims] == ["stale"] * len(claims)
    assert await operator.value("select count(*) from public.segmentation_results") == 0
    assert await owner.value("select credits from public.users_profile") == 100


async def test_deleting_a_user_takes_everything_along(
    owner: Any, machine: Any, operator: Any
) -> None:
    """One delete in auth.users leaves no profile, project, task, attempt or ledger row."""
    project = await owner.value("insert into public.projects (name) values ('p') returning id")
    await owner.submit(p_project_id=project)
    [claim] = await machine.claim()
    await operator.rows("delete from auth.users where id = %s", owner.id)
    assert await machine.complete(claim) == "stale"
    for table in ("projects", "segmentation_results"):
        assert await operator.value(f"select count(*) from public.{table}") == 0
    mine = await operator.value(
        "select count(*) from public.usage_logs where user_id = %s", owner.id
    )
    assert mine == 0


async def test_deleting_a_project_keeps_its_results(owner: Any, task_row: Any) -> None:
    """A result outlives its project, without it."""
    project = await owner.value("insert into public.projects (name) values ('p') returning id")
    task = await owner.submit(p_project_id=project)
    await owner.rows("delete from public.projects where id = %s", project)
    row = await task_row(task["id"])
    assert (row["project_id"], str(row["user_id"])) == (None, owner.id)
