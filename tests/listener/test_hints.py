"""Hints make it quick; the clock makes it certain."""

from collections.abc import AsyncIterator

import aiohttp
import pytest
from aiohttp import web
from listeners import Listening
from task_queue import Queue, until

from contracts.tasks import TaskStatus
from devstack.testing import Stack
from listener.wake import WakeSource


FAR_AWAY = 3600


async def test_a_hint_leads_to_a_claim(queue: Queue, listening: Listening) -> None:
    """With the clock far away, each task is claimed by a hint, and soon."""
    async with listening(LISTENER_POLL_SECONDS=FAR_AWAY) as worker:
        await until(lambda: worker.hints.state == "live")
        ids = []
        for _ in range(5):
            ids.append(await queue.submit())
            await queue.reaches(ids[-1], TaskStatus.DONE)

    assert worker.claimer.claims_by_source[WakeSource.HINT] >= 4
    waits = sorted([await _seconds_to_claim(queue, task_id) for task_id in ids])
    # About 0.02 s on a quiet machine; the bound leaves room for a crowded one.
    assert waits[len(waits) // 2] < 0.5


async def test_a_lost_hint_is_made_good_by_the_clock(
    queue: Queue, listening: Listening, silent_inserts: None
) -> None:
    """A task that nobody was told of is found all the same."""
    async with listening() as worker:
        await until(lambda: worker.hints.state == "live")
        task_id = await queue.submit()
        await queue.reaches(task_id, TaskStatus.DONE)

    assert worker.claimer.claims_by_source == {WakeSource.POLL: 1}


async def test_without_hint_and_clock_nobody_looks(
    queue: Queue, listening: Listening, silent_inserts: None
) -> None:
    """Negative control: take the clock away too, and the task stays pending."""
    async with listening(LISTENER_POLL_SECONDS=FAR_AWAY) as worker:
        await until(lambda: worker.hints.state == "live")
        task_id = await queue.submit()
        with pytest.raises(TimeoutError):
            await queue.reaches(task_id, TaskStatus.DONE, seconds=1)


async def test_without_realtime_tasks_are_done(
    queue: Queue, listening: Listening, platform_without_realtime: str
) -> None:
    """A listener whose Realtime is cut finishes tasks by the clock, and knows that it is deaf."""
    async with listening(SUPABASE_URL=platform_without_realtime) as worker:
        task_id = await queue.submit()
        await queue.reaches(task_id, TaskStatus.DONE)
        await until(lambda: worker.hints.state == "deaf")

    assert worker.claimer.claims_by_source == {WakeSource.POLL: 1}


async def _seconds_to_claim(queue: Queue, task_id: str) -> float:
    created_at = (await queue.row(task_id))["created_at"]
    claimed_at = (await queue.attempts(task_id))[0]["claimed_at"]
    return float((claimed_at - created_at).total_seconds())


@pytest.fixture
async def silent_inserts(queue: Queue) -> AsyncIterator[None]:
    """The trigger that sends the hint is off."""
    change = "alter table segmentation_results {} trigger segmentation_results_c_wake_on_insert"
    await queue.rows(change.format("disable"))
    yield
    await queue.rows(change.format("enable"))


@pytest.fixture
async def platform_without_realtime(stack: Stack) -> AsyncIterator[str]:
    """The devstack behind a proxy that refuses `/realtime`."""
    async with aiohttp.ClientSession(stack.url, auto_decompress=False) as http:

        async def forward(request: web.Request) -> web.Response:
            if request.path.startswith("/realtime"):
                raise web.HTTPServiceUnavailable
            sent = {name: text for name, text in request.headers.items() if name != "Host"}
            async with http.request(
                request.method, request.rel_url, headers=sent, data=await request.read()
            ) as answer:
                body, kind = await answer.read(), answer.headers.get("Content-Type", "")
                return web.Response(status=answer.status, body=body, headers={"Content-Type": kind})

        app = web.Application()
        app.router.add_route("*", "/{path:.*}", forward)
        runner = web.AppRunner(app, shutdown_timeout=0.1)
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        yield f"http://127.0.0.1:{runner.addresses[0][1]}"
        await runner.cleanup()
