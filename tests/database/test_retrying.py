"""What follows a bad end: retry with backoff, the cap on attempts, the reaper, the release."""

from datetime import UTC, datetime
from typing import Any

import pytest


pytestmark = pytest.mark.usefixtures("all_is_paid")


async def test_a_retryable_failure_goes_back_with_backoff(
    owner: Any, machine: Any, task_row: Any
) -> None:
    """The task is pending again, but due only after 2 s times 0.5 to 1.5."""
    task = await owner.submit()
    [claim] = await machine.claim()
    answer = await machine.call(
        "fail_task", p_token=claim["token"], p_error_code="pipeline_failed", p_detail="at layer 12"
    )
    assert answer == "ok"
    row = await task_row(task["id"])
    assert (row["status"], row["attempt_count"], row["error_code"]) == ("pending", 1, None)
    wait = (row["run_after"] - row["updated_at"]).total_seconds()
    assert 1 <= wait <= 3
    assert await machine.claim() == []


async def test_backoff_doubles_up_to_five_minutes(operator: Any) -> None:
    """Attempt n waits min(300, 2^n) s times 0.5 to 1.5, and the jitter is real."""
    for count, seconds in ((1, 2), (2, 4), (5, 32), (30, 300)):
        rows = await operator.rows(
            "select extract(epoch from segmentation.backoff(%s))::float8 as wait"
            " from generate_series(1, 200)",
            count,
        )
        waits = [row["wait"] for row in rows]
        assert 0.5 * seconds <= min(waits) < 0.7 * seconds
        assert 1.3 * seconds < max(waits) <= 1.5 * seconds


async def test_a_final_error_ends_the_task(owner: Any, machine: Any, task_row: Any) -> None:
    """A damaged picture is not tried again, and the row says what the user should do."""
    task = await owner.submit()
    [claim] = await machine.claim()
    await machine.call(
        "fail_task", p_token=claim["token"], p_error_code="invalid_image", p_detail="truncated"
    )
    row = await task_row(task["id"])
    assert (row["status"], row["error_code"]) == ("failed", "invalid_image")
    assert "Export it again" in row["error_message"]


async def test_the_detail_is_for_operators(owner: Any, machine: Any, operator: Any) -> None:
    """What a worker says in detail stands in the attempt, never in the user's row."""
    await owner.submit()
    [claim] = await machine.claim()
    detail = "CUDA error at secret-host"
    await machine.call(
        "fail_task", p_token=claim["token"], p_error_code="invalid_image", p_detail=detail
    )
    stored = await operator.value("select error_detail from segmentation.attempts")
    assert stored == detail
    [row] = await owner.rows("select * from public.segmentation_results")
    assert detail not in str(row)


async def test_an_unknown_error_code_is_refused(
    owner: Any, machine: Any, refused: Any, task_row: Any
) -> None:
    """A worker cannot invent codes; its attempt stays open."""
    task = await owner.submit()
    [claim] = await machine.claim()
    with refused("PT400", "invalid_request"):
        await machine.call("fail_task", p_token=claim["token"], p_error_code="gremlins")
    assert (await task_row(task["id"]))["status"] == "processing"


async def test_attempts_are_capped(owner: Any, machine: Any, task_row: Any, due_now: Any) -> None:
    """The third retryable failure is the last."""
    task = await owner.submit()
    for _ in range(3):
        await due_now()
        [claim] = await machine.claim()
        await machine.call("fail_task", p_token=claim["token"], p_error_code="pipeline_failed")
    row = await task_row(task["id"])
    assert (row["status"], row["error_code"]) == ("failed", "pipeline_failed")
    assert row["attempt_count"] == row["max_attempts"] == 3


async def test_a_poison_task_ends(
    owner: Any, machine: Any, task_row: Any, pass_lease: Any, due_now: Any
) -> None:
    """A task that silences each of its workers fails, for attempts count from the claim."""
    task = await owner.submit()
    for _ in range(3):
        await due_now()
        [claim] = await machine.claim()
        await pass_lease(claim["token"])
        assert await machine.call("reap_tasks") == 1
    row = await task_row(task["id"])
    assert (row["status"], row["error_code"]) == ("failed", "lease_expired")
    assert await owner.value("select credits from public.users_profile") == 100


async def test_a_live_lease_is_not_reaped(owner: Any, machine: Any, pass_lease: Any) -> None:
    """The reaper leaves attempts alone whose lease runs, or was renewed in time."""
    await owner.submit()
    [claim] = await machine.claim()
    assert await machine.call("reap_tasks") == 0
    await pass_lease(claim["token"])
    assert await machine.call("renew_lease", p_token=claim["token"]) == "ok"
    assert await machine.call("reap_tasks") == 0


async def test_renewing_does_not_move_the_deadline(owner: Any, machine: Any, operator: Any) -> None:
    """A lease never reaches beyond the attempt's hard deadline."""
    await owner.submit()
    [claim] = await machine.claim(p_lease_seconds=30, p_deadline_seconds=60)
    await machine.call("renew_lease", p_token=claim["token"], p_lease_seconds=3600)
    [attempt] = await operator.rows("select * from segmentation.attempts")
    assert attempt["lease_expires_at"] == attempt["deadline_at"] == claim["deadline_at"]


async def test_an_overdue_attempt_ends_however_alive_it_is(
    owner: Any, machine: Any, operator: Any, pass_lease: Any, task_row: Any
) -> None:
    """Past its deadline an attempt can no longer renew, and the reaper names the reason."""
    task = await owner.submit()
    [claim] = await machine.claim()
    await pass_lease(claim["token"], deadline=True)
    assert await machine.call("renew_lease", p_token=claim["token"]) == "stale"
    assert await machine.call("reap_tasks") == 1
    outcome = await operator.value("select outcome::text from segmentation.attempts")
    assert outcome == "deadline_exceeded"
    assert (await task_row(task["id"]))["status"] == "pending"


async def test_the_reaper_keeps_to_its_limit(owner: Any, machine: Any, pass_lease: Any) -> None:
    """One call ends at most as many attempts as asked; the next takes the rest."""
    for _ in range(3):
        await owner.submit()
    for claim in await machine.claim(3):
        await pass_lease(claim["token"])
    assert [await machine.call("reap_tasks", p_limit=2) for _ in range(3)] == [2, 1, 0]


async def test_a_release_is_not_counted(owner: Any, machine: Any, task_row: Any) -> None:
    """A task released at a stop is due at once, at its old position, attempts untouched."""
    first, _ = await owner.submit(), await owner.submit()
    [claim] = await machine.claim()
    assert await machine.call("release_task", p_token=claim["token"]) == "ok"
    row = await task_row(first["id"])
    assert (row["status"], row["attempt_count"]) == ("pending", 0)
    assert row["run_after"] <= datetime.now(UTC)
    [again] = await machine.claim()
    assert (again["id"], again["attempt_count"]) == (claim["id"], 1)
    assert again["token"] > claim["token"]


async def test_soft_stops_never_count(owner: Any, machine: Any, task_row: Any) -> None:
    """However often workers stop, the task stays unharmed and due: deploys cost no user a task."""
    task = await owner.submit()
    for _ in range(15):
        [claim] = await machine.claim()
        await machine.call("release_task", p_token=claim["token"], p_reason="stopping")
    row = await task_row(task["id"])
    assert (row["status"], row["attempt_count"]) == ("pending", 0)


async def test_what_a_pipeline_cannot_do_waits_longer_each_time(
    owner: Any, machine: Any, task_row: Any, due_now: Any
) -> None:
    """A busy pipeline does not burn the ten free releases within seconds: 2, 4, 8, ... s."""
    task = await owner.submit()
    for count in range(1, 6):
        [claim] = await machine.claim()
        await machine.call("release_task", p_token=claim["token"], p_reason="unable")
        row = await task_row(task["id"])
        wait = (row["run_after"] - row["updated_at"]).total_seconds()
        assert 0.5 <= wait / 2**count <= 1.5
        assert (row["status"], row["attempt_count"]) == ("pending", 0)
        assert await machine.claim() == []
        await due_now()


async def test_a_task_is_not_handed_back_for_ever(
    owner: Any, machine: Any, task_row: Any, due_now: Any
) -> None:
    """When pipelines were unable ten times, it counts as attempts, so the task ends."""
    task = await owner.submit()
    for _ in range(13):
        await due_now()
        [claim] = await machine.claim()
        answer = await machine.call("release_task", p_token=claim["token"], p_reason="unable")
        assert answer == "ok"
    row = await task_row(task["id"])
    assert (row["status"], row["error_code"], row["attempt_count"]) == ("failed", "internal", 3)


async def test_a_release_has_a_known_reason(owner: Any, machine: Any, refused: Any) -> None:
    """Another reason is refused, and the attempt stays open."""
    await owner.submit()
    [claim] = await machine.claim()
    for reason in ("bored", None):
        with refused("PT400", "invalid_request"):
            await machine.call("release_task", p_token=claim["token"], p_reason=reason)
    assert await machine.call("renew_lease", p_token=claim["token"]) == "ok"
