"""Without a listener late tasks still expire and silent attempts still end."""

from typing import Any

from janitors import Platform, Spawn, until

from devstack.testing import SignedUpUser
from janitor import jobs
from janitor.health import State


async def status(platform: Platform, task_id: str) -> tuple[Any, Any]:
    """Status and error code of a task."""
    (row,) = await platform.rows(
        "select status::text, error_code from segmentation_results where id = %s", task_id
    )
    return row["status"], row["error_code"]


async def late_task(platform: Platform, user: SignedUpUser) -> str:
    """A task that nobody began in time."""
    task_id = await platform.pending_task(user)
    await platform.rows(
        "update segmentation_results set deadline_seconds = 60,"
        " expires_at = now() - interval '1 second' where id = %s",
        task_id,
    )
    return task_id


async def test_a_janitor_alone_ends_what_is_late(
    platform: Platform, user: SignedUpUser, spawn: Spawn
) -> None:
    """
    With zero listeners a late task is cancelled and paid back, and a silent attempt ends.

    Negative control: until the janitor comes, nothing moves.
    """
    silent = await platform.pending_task(user)
    await platform.claim()
    await platform.rows(
        "update segmentation.attempts set claimed_at = now() - interval '1 day',"
        " lease_expires_at = now() - interval '1 second'"
    )
    late = await late_task(platform, user)
    assert (await status(platform, late), await status(platform, silent)) == (
        ("pending", None),
        ("processing", None),
    )

    await spawn({"reap": 0.2})

    async def all_ended() -> bool:
        both = (await status(platform, late), await status(platform, silent))
        return both == (("cancelled", "expired"), ("pending", None))

    await until(all_ended)
    assert await platform.database.mismatches() == []


async def test_a_round_that_ends_few_is_the_last(platform: Platform, state: State) -> None:
    """With less than a batch to do, the janitor waits for its next round."""
    assert await jobs.reap(platform.database, state) is False
    assert state.reaped_attempts == 0
