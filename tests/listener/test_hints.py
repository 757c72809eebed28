"""A hint makes a claim quick; the clock makes it certain."""

import asyncio
from collections.abc import AsyncIterator

import aiohttp
import pytest
from aiohttp import web
from listeners import Listening
from task_queue import Queue, until

from adapters.machine_auth import machine_tokens
from devstack.testing import SignedUpUser, Stack
from listener.wake import WakeSource
from runtime.settings import SupabaseServiceSettings
from s3_sam3 import realtime
from s3_sam3.contracts import notices
from s3_sam3.contracts.tasks import TaskStatus


FAR_AWAY = 3600


async def test_a_hint_leads_to_a_claim(queue: Queue, listening: Listening) -> None:
    """With the clock far away, each task is claimed by a hint, and soon."""
    async with listening(LISTENER_POLL_SECONDS=FAR_AWAY) as worker:
        await until(worker.hints.live.is_set)
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
    """A task without a hint is found by the clock."""
    async with listening() as worker:
        await until(worker.hints.live.is_set)
        task_id = await queue.submit()
        await queue.reaches(task_id, TaskStatus.DONE)

    assert worker.claimer.claims_by_source == {WakeSource.POLL: 1}


async def test_without_hint_and_clock_nobody_looks(
    queue: Queue, listening: Listening, platform_without_realtime: str
) -> None:
    """Negative control: with the clock far away too, only the look at the start finds a task."""
    first_id = await queue.submit()
    async with listening(SUPABASE_URL=platform_without_realtime, LISTENER_POLL_SECONDS=FAR_AWAY):
        await queue.reaches(first_id, TaskStatus.DONE)
        second_id = await queue.submit()
        with pytest.raises(TimeoutError):
            await queue.reaches(second_id, TaskStatus.DONE, seconds=1)


async def test_without_realtime_tasks_are_done(
    queue: Queue, listening: Listening, platform_without_realtime: str
) -> None:
    """A listener whose Realtime is cut finishes tasks by the clock, and knows that it is deaf."""
    async with listening(SUPABASE_URL=platform_without_realtime) as worker:
        task_id = await queue.submit()
        await queue.reaches(task_id, TaskStatus.DONE)
        await until(lambda: worker.hints.rebuild_count > 0)

    assert worker.claimer.claims_by_source == {WakeSource.POLL: 1}


async def test_a_machine_hears_its_own_canaries(
    stack: Stack, queue: Queue, machine: SignedUpUser
) -> None:
    """The policies let a machine send canaries on the workers' topic, so it stays joined."""
    timings = realtime.ChannelTimings(check_seconds=0.05, canary_seconds=0.1, canary_misses=2)
    settings = realtime.ChannelSettings(
        url=stack.url, apikey=stack.anon_key, topic=notices.WORKERS_TOPIC, timings=timings
    )
    project = SupabaseServiceSettings(supabase_url=stack.url, supabase_anon_key=stack.anon_key)
    heard: list[str] = []
    async with machine_tokens(project, email=machine.email, password=machine.password) as tokens:
        channel = realtime.SupervisedChannel(
            settings,
            tokens.token,
            on_notice=lambda notice: heard.append(notice.payload["id"]),
            on_live=lambda: None,
        )
        running = asyncio.create_task(channel.run())
        await until(channel.live.is_set)
        ends_at = asyncio.get_running_loop().time() + 1
        await until(lambda: asyncio.get_running_loop().time() > ends_at)
        task_id = await queue.submit()
        await until(lambda: task_id in heard)
        await channel.close()

    assert running.done()
    assert channel.rebuild_count == 0


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
