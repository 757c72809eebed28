"""The fencing token: a worker that lost a task can change nothing any more."""

from collections.abc import Awaitable, Callable
from typing import Any

import psycopg
import pytest


#: How a task is taken from its worker; a new worker then claims it.
Takeover = Callable[[Any], Awaitable[None]]


@pytest.fixture
async def zombie(owner: Any, machine: Any, pass_lease: Any, due_now: Any) -> tuple[Any, Any]:
    """The claim of a worker that lost its lease, and the claim of the worker after it."""
    await owner.submit()
    [lost] = await machine.claim()
    await pass_lease(lost["token"])
    await machine.call("reap_tasks")
    await due_now()
    [held] = await machine.claim()
    assert held["id"] == lost["id"]
    return lost, held


async def test_a_zombie_cannot_complete(machine: Any, task_row: Any, zombie: Any) -> None:
    """The late completion is stale; the holder's wins, and the row names its token."""
    lost, held = zombie
    assert await machine.complete(lost) == "stale"
    assert await machine.complete(held) == "ok"
    assert await machine.complete(lost) == "stale"
    assert f"/{held['token']}/" in (await task_row(held["id"]))["manifest_url"]


@pytest.mark.usefixtures("all_is_paid")
async def test_completing_by_id_and_status_takes_a_zombies_result(
    machine: Any, operator: Any, task_row: Any, zombie: Any
) -> None:
    """Negative control: the guard that most queues use lets the wrong result through."""
    lost, held = zombie
    wrong = f"results/{lost['user_id']}/{lost['id']}/{lost['token']}/manifest.json"
    done = await operator.rows(
        """
        update public.segmentation_results
        set status = 'done', manifest_url = %s, instance_count = 0,
            finished_at = now(), charged = cost
        where id = %s and status = 'processing' returning id
        """,
        wrong,
        lost["id"],
    )
    assert len(done) == 1
    row = await task_row(held["id"])
    assert f"/{held['token']}/" not in row["manifest_url"]
    # Leave the money right for the law that all tests keep.
    await operator.rows(
        "insert into public.usage_logs (user_id, action, credits_used, result_id)"
        " values (%s, 'capture', 1, %s)",
        row["user_id"],
        row["id"],
    )


@pytest.mark.parametrize(
    ("function", "arguments"),
    [
        ("renew_lease", {}),
        ("report_progress", {"p_progress": 0.9}),
        ("fail_task", {"p_error_code": "invalid_image"}),
        ("release_task", {}),
    ],
)
async def test_a_stale_token_changes_nothing(
    machine: Any, operator: Any, task_row: Any, zombie: Any, function: str, arguments: Any
) -> None:
    """Every other write with a lost token answers stale and leaves task and attempts alone."""
    lost, _ = zombie
    attempts = "select * from segmentation.attempts order by token"
    before = (await task_row(lost["id"]), await operator.rows(attempts))
    assert await machine.call(function, p_token=lost["token"], **arguments) == "stale"
    assert (await task_row(lost["id"]), await operator.rows(attempts)) == before


@pytest.mark.parametrize("function", ["renew_lease", "release_task"])
async def test_a_token_that_never_was_is_stale(machine: Any, function: str) -> None:
    """An invented token is no error and no right."""
    assert await machine.call(function, p_token=987654321) == "stale"


async def test_a_repeated_write_is_a_duplicate(
    owner: Any, machine: Any, task_row: Any, due_now: Any
) -> None:
    """The same token may say the same again, after a lost answer, without effect."""
    task = await owner.submit()
    [claim] = await machine.claim()
    release = {"p_token": claim["token"]}
    answers = [await machine.call("release_task", **release) for _ in range(2)]
    assert answers == ["ok", "duplicate"]

    [claim] = await machine.claim()
    failure = {"p_token": claim["token"], "p_error_code": "pipeline_failed"}
    answers = [await machine.call("fail_task", **failure) for _ in range(2)]
    assert answers == ["ok", "duplicate"]

    await due_now()
    [claim] = await machine.claim()
    assert [await machine.complete(claim) for _ in range(2)] == ["ok", "duplicate"]
    assert (await task_row(task["id"]))["attempt_count"] == 2


async def test_another_write_after_the_end_is_stale(owner: Any, machine: Any) -> None:
    """A token that completed cannot then fail or release the task."""
    await owner.submit()
    [claim] = await machine.claim()
    await machine.complete(claim)
    token = claim["token"]
    assert await machine.call("fail_task", p_token=token, p_error_code="internal") == "stale"
    assert await machine.call("release_task", p_token=token) == "stale"


async def test_a_late_worker_may_finish_until_it_is_reaped(
    owner: Any, machine: Any, pass_lease: Any
) -> None:
    """While nobody else has the task, work that came a little late is not thrown away."""
    await owner.submit()
    [claim] = await machine.claim()
    await pass_lease(claim["token"])
    assert await machine.complete(claim) == "ok"


async def test_tokens_only_rise(owner: Any, machine: Any) -> None:
    """No token is used twice, also not after a release."""
    await owner.submit()
    tokens = []
    for _ in range(5):
        [claim] = await machine.claim()
        tokens.append(claim["token"])
        await machine.call("release_task", p_token=claim["token"])
    assert tokens == sorted(set(tokens))


async def test_a_machine_cannot_use_anothers_token(
    owner: Any, machine: Any, new_machine: Any, task_row: Any
) -> None:
    """Tokens can be guessed, so they count only for the machine that claimed."""
    task = await owner.submit()
    [claim] = await machine.claim()
    thief = await new_machine()
    token = claim["token"]
    assert await thief.complete(claim) == "stale"
    assert await thief.call("renew_lease", p_token=token) == "stale"
    assert await thief.call("report_progress", p_token=token, p_progress=1) == "stale"
    assert await thief.call("fail_task", p_token=token, p_error_code="internal") == "stale"
    assert await thief.call("release_task", p_token=token) == "stale"
    assert (await task_row(task["id"]))["status"] == "processing"


@pytest.mark.parametrize("key", ["p_manifest_url", "p_mask_image_url", "p_overlay_image_url"])
async def test_results_lie_under_the_tokens_prefix(
    owner: Any, machine: Any, refused: Any, task_row: Any, key: str
) -> None:
    """A completion that names an object elsewhere is refused whole."""
    task = await owner.submit()
    [claim] = await machine.claim()
    elsewhere = f"results/{owner.id}/{task['id']}/{claim['token'] + 1}/manifest.json"
    with refused("PT400", "invalid_request"):
        await machine.complete(claim, **{key: elsewhere})
    assert (await task_row(task["id"]))["status"] == "processing"


async def test_a_task_has_one_open_attempt(owner: Any, machine: Any, operator: Any) -> None:
    """The schema itself refuses a second lease on a task."""
    task = await owner.submit()
    await machine.claim()
    with pytest.raises(psycopg.errors.UniqueViolation):
        await operator.rows(
            "insert into segmentation.attempts"
            " (result_id, user_id, worker, lease_expires_at, deadline_at)"
            " values (%s, %s, 'w', now() + interval '1 min', now() + interval '2 min')",
            task["id"],
            owner.id,
        )
