"""Retention by tier, and the ledger's check."""

from collections.abc import AsyncIterator

import pytest
from janitors import Platform

from devstack.testing import SignedUpUser
from janitor import jobs
from janitor.health import State


@pytest.fixture
async def keep_free_for_a_week(platform: Platform) -> AsyncIterator[None]:
    """The free tier keeps final rows for 7 days; as before at the end."""
    query = "update segmentation.tiers set retention_days = %s where tier = 'free'"
    await platform.rows(query, 7)
    yield
    await platform.rows(query, None)


async def prune(platform: Platform, state: State) -> None:
    """All rounds of retention, and of the outbox after it."""
    while await jobs.prune_results(platform.database, state):
        pass
    while await jobs.delete_objects(platform.database, platform.bucket, state):
        pass


@pytest.mark.usefixtures("keep_free_for_a_week")
async def test_old_final_rows_go_with_their_objects(
    platform: Platform, user: SignedUpUser, state: State
) -> None:
    """A row that is too old goes with its results; a younger one and the ledger stay."""
    old, young = await platform.done_task(user), await platform.done_task(user)
    await platform.grow_old(old, days=8)
    await platform.grow_old(young, days=6)

    await prune(platform, state)

    rows = await platform.rows("select id from segmentation_results")
    assert [str(row["id"]) for row in rows] == [young]
    assert not [key for key in await platform.keys() if old in key]
    assert [key for key in await platform.keys() if young in key]
    assert len(await platform.rows("select 1 from usage_logs where result_id = %s", old)) == 2
    assert state.pruned_results == 1
    assert await platform.database.mismatches() == []


@pytest.mark.usefixtures("keep_free_for_a_week")
async def test_what_is_not_final_is_never_pruned(
    platform: Platform, user: SignedUpUser, state: State
) -> None:
    """A task that waits or is at work stays, however old."""
    waiting = await platform.pending_task(user)
    await platform.grow_old(waiting, days=100)

    await prune(platform, state)

    assert (
        len(await platform.rows("select 1 from segmentation_results where id = %s", waiting)) == 1
    )


async def test_by_default_everything_is_kept(
    platform: Platform, user: SignedUpUser, state: State
) -> None:
    """Control: without a policy the oldest row stays."""
    await platform.grow_old(await platform.done_task(user), days=4000)

    await prune(platform, state)

    assert state.pruned_results == 0
    assert len(await platform.keys()) == 4


async def test_old_deliveries_go_with_their_attempts(
    platform: Platform, user: SignedUpUser, state: State
) -> None:
    """Webhook deliveries that ended 30 days ago go; younger ones and pending ones stay."""
    made = await platform.rest.rpc(
        "create_webhook",
        {"p_url": "https://example.org", "p_events": ["task.done"]},
        user.access_token,
    )
    for name, status, days in (
        ("old", "delivered", 31),
        ("new", "dead", 29),
        ("open", "pending", 0),
    ):
        await platform.rows(
            "insert into webhook_deliveries"
            " (id, endpoint_id, user_id, event, body, status, finished_at) values"
            " (%s, %s, %s, 'task.done', '{}', %s, now() - nullif(%s, 0) * interval '1 day')",
            *(name, made["webhook"]["id"], user.id, status, days),
        )
        await platform.rows(
            "insert into webhook_attempts (delivery_id, user_id, latency_ms) values (%s, %s, 1)",
            *(name, user.id),
        )

    rounds = [await jobs.prune_webhooks(platform.database, state) for _ in range(2)]

    assert rounds == [True, False]

    left = await platform.rows("select id from webhook_deliveries order by id")
    assert [row["id"] for row in left] == ["new", "open"]
    assert len(await platform.rows("select 1 from webhook_attempts")) == 2
    assert state.pruned_webhooks == 1


async def test_a_right_ledger_is_not_reported(
    platform: Platform, user: SignedUpUser, state: State
) -> None:
    """After a whole task there is no mismatch."""
    await platform.done_task(user)

    await jobs.check_ledger(platform.database, state)

    assert (state.mismatches, state.status) == ([], "ok")


async def test_a_wrong_ledger_is_in_the_state_until_it_is_right(
    platform: Platform, user: SignedUpUser, state: State
) -> None:
    """Negative control: a balance changed behind the ledger's back is named with its user."""
    await platform.rows("update users_profile set credits = credits + 1 where id = %s", user.id)

    await jobs.check_ledger(platform.database, state)
    wrong = list(state.mismatches)
    status = state.status
    await platform.rows("update users_profile set credits = credits - 1 where id = %s", user.id)
    await jobs.check_ledger(platform.database, state)

    assert [str(each.user_id) for each in wrong] == [user.id]
    assert "balance" in wrong[0].problem
    assert (status, state.status) == ("wrong", "ok")
