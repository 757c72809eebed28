"""Transitions that meet: one wins, the other is told so, and the money stays right."""

import asyncio
from typing import Any

import pytest


pytestmark = pytest.mark.usefixtures("all_is_paid")


async def test_a_cancel_and_a_completion_at_once_have_one_winner(
    busy_owner: Any, machine: Any, operator: Any
) -> None:
    """Of each pair exactly one takes effect, and the row says which."""
    for _ in range(20):
        await busy_owner.submit()
    claims = await machine.claim(20)
    answers = await asyncio.gather(
        *(busy_owner.call("cancel_task", p_id=claim["id"]) for claim in claims),
        *(machine.complete(claim) for claim in claims),
    )
    for claim, cancelled, completed in zip(claims, answers[:20], answers[20:], strict=True):
        query = "select status::text from public.segmentation_results where id = %s"
        outcome = (cancelled, completed, await operator.value(query, claim["id"]))
        assert outcome in {("ok", "stale", "cancelled"), ("already_final", "ok", "done")}


async def test_the_reaper_and_the_worker_at_once_have_one_winner(
    busy_owner: Any, machine: Any, operator: Any, pass_lease: Any
) -> None:
    """A silent attempt is renewed or reaped, completed or reaped, never both."""
    for _ in range(20):
        await busy_owner.submit()
    claims = await machine.claim(20)
    for claim in claims:
        await pass_lease(claim["token"])
    renewals = [machine.call("renew_lease", p_token=claim["token"]) for claim in claims[:10]]
    endings = [machine.complete(claim) for claim in claims[10:]]
    *answers, first, second = await asyncio.gather(
        *renewals, *endings, machine.call("reap_tasks"), machine.call("reap_tasks")
    )
    assert first + second == answers.count("stale")
    open_attempts = await operator.value(
        "select count(*) from segmentation.attempts where ended_at is null"
    )
    assert open_attempts == answers[:10].count("ok")


async def test_a_crowd_leaves_the_ledger_right(owner: Any, stranger: Any, machine: Any) -> None:
    """Submits, claims, ends and cancels of two users all at once neither deadlock nor miscount."""

    async def use(user: Any) -> None:
        """Submit and cancel one task, submit another."""
        task = await user.submit(p_prompts=[{"text": "cat"}] * 2)
        await user.call("cancel_task", p_id=task["id"])
        await user.submit()

    async def work(code: str | None) -> None:
        """Claim some and end them."""
        for claim in await machine.claim(5):
            if code is None:
                await machine.complete(claim)
            else:
                await machine.call("fail_task", p_token=claim["token"], p_error_code=code)

    async with asyncio.TaskGroup() as group:
        for _ in range(15):
            group.create_task(use(owner))
            group.create_task(use(stranger))
            group.create_task(work(None))
            group.create_task(work("invalid_image"))
            group.create_task(machine.call("reap_tasks"))
