"""From an inserted task to its claim, without Realtime: by the database's webhook, or the poll."""

import uuid
from collections.abc import AsyncIterator, Awaitable, Callable

import pytest
from listeners import Listening
from task_queue import Queue, until

from listener.wake import WakeSource
from listener.webhooks import PATH
from s3_sam3.contracts.tasks import TaskStatus


FAR_AWAY = 3600
DEAF = {"LISTENER_REALTIME": "off", "LISTENER_POLL_SECONDS": FAR_AWAY}
SECRET = "whsec_" + "b3Vycw" * 4

Register = Callable[[int | None], Awaitable[str]]
"""`secret = await register(port)`: have pg_net wake the listener on that port."""


@pytest.fixture
async def register(queue: Queue) -> AsyncIterator[Register]:
    """Make a wake target; it is removed at the end."""
    name = f"listener-{uuid.uuid4().hex[:8]}"

    async def to(port: int | None) -> str:
        url = f"http://127.0.0.1:{port or 9}{PATH}"
        return str(await queue.operate("register_wake_target", p_name=name, p_url=url))

    yield to
    await queue.operate("remove_wake_target", p_name=name)


async def test_webhooks_alone_bring_the_work(
    queue: Queue, listening: Listening, register: Register
) -> None:
    """Without Realtime and with the poll far away, the database's webhook wakes, and soon."""
    secret = await register(None)
    early_id = await queue.submit()
    async with listening(
        **DEAF, LISTENER_WEBHOOK_PORT=0, LISTENER_WEBHOOK_SECRETS=secret
    ) as worker:
        assert worker.hints is None
        assert worker.webhooks is not None
        await queue.reaches(early_id, TaskStatus.DONE)
        await register(worker.webhooks.port)
        ids = []
        for _ in range(5):
            ids.append(await queue.submit())
            await queue.reaches(ids[-1], TaskStatus.DONE)

    assert worker.claimer.claims_by_source == {WakeSource.POLL: 1, WakeSource.WEBHOOK: 5}
    waits = sorted([await _seconds_to_claim(queue, task_id) for task_id in ids])
    # About 0.03 s on a quiet machine (bench.wakes); the bound leaves room for a crowded one.
    assert waits[len(waits) // 2] < 0.5


async def test_a_webhook_with_another_secret_brings_nothing(
    queue: Queue, listening: Listening, register: Register
) -> None:
    """Negative control: a listener that does not hold the target's secret hears nothing."""
    await register(None)
    early_id = await queue.submit()
    async with listening(
        **DEAF, LISTENER_WEBHOOK_PORT=0, LISTENER_WEBHOOK_SECRETS=SECRET
    ) as worker:
        assert worker.webhooks is not None
        await queue.reaches(early_id, TaskStatus.DONE)
        await register(worker.webhooks.port)
        task_id = await queue.submit()
        await until(lambda: worker.webhooks.answers[401] == 1)
        with pytest.raises(TimeoutError):
            await queue.reaches(task_id, TaskStatus.DONE, seconds=0.5)


async def test_with_both_off_the_poll_finishes(
    queue: Queue, listening: Listening, register: Register
) -> None:
    """Neither Realtime nor webhooks: every task is done by the poll, though nobody is reached."""
    await register(None)
    async with listening(LISTENER_REALTIME="off") as worker:
        ids = [await queue.submit() for _ in range(5)]
        for task_id in ids:
            await queue.reaches(task_id, TaskStatus.DONE)

    assert worker.webhooks is None
    assert worker.claimer.claims_by_source == {WakeSource.POLL: 5}


async def test_with_all_three_off_nothing_moves(queue: Queue, listening: Listening) -> None:
    """Negative control: without the poll too, only the look at the start finds a task."""
    first_id = await queue.submit()
    async with listening(**DEAF):
        await queue.reaches(first_id, TaskStatus.DONE)
        second_id = await queue.submit()
        with pytest.raises(TimeoutError):
            await queue.reaches(second_id, TaskStatus.DONE, seconds=0.5)


async def _seconds_to_claim(queue: Queue, task_id: str) -> float:
    created_at = (await queue.row(task_id))["created_at"]
    claimed_at = (await queue.attempts(task_id))[0]["claimed_at"]
    return float((claimed_at - created_at).total_seconds())
