"""A task as its user sees it: submitted, watched, done."""

import asyncio
import json
import time
from collections.abc import Callable
from typing import Any

import aiohttp
import psycopg

from s3_sam3.contracts import prompts


Draw = Callable[..., bytes]


async def test_a_task_is_queued_and_its_credits_are_held(caller: Any, draw: Draw) -> None:
    """202, pending, with a place in the queue; one credit per prompt leaves the balance."""
    image_url = await caller.upload(draw())
    body = {"image_url": image_url, "prompts": [{"text": "cat"}, {"text": "dog"}]}

    reply = await caller.ask("POST", "/api/v1/segment", json=body)

    assert (reply.status, reply.data["status"], reply.data["credits"]) == (202, "pending", 2)
    assert reply.data["queue_position"] >= 0
    assert reply.headers["Location"] == f"/api/v1/tasks/{reply.data['task_id']}"
    assert await caller.balance() == 98


async def test_both_forms_of_a_prompt_mean_the_same(caller: Any, draw: Draw) -> None:
    """`text_prompt` is one prompt named p0, with the default options."""
    task = (await caller.submit(await caller.upload(draw()))).data["task_id"]

    result = (await caller.ask("GET", f"/api/v1/results/{task}")).data

    assert result["prompts"] == [{"id": "p0", "text": "red circle", "boxes": [], "threshold": None}]
    assert result["text_prompt"] == "red circle"
    assert result["options"] == prompts.SegmentOptions().model_dump(mode="json")


async def test_a_task_in_tiles_costs_each_pass(caller: Any, draw: Draw) -> None:
    """Two prompts in 2 x 2 tiles: the whole and four tiles for each."""
    asked = [{"text": "cat"}, {"text": "dog"}]

    reply = await caller.segment(image_url=await caller.upload(draw()), prompts=asked, tiles=2)

    assert reply.data["credits"] == 10
    assert await caller.balance() == 90


async def test_a_done_task_has_urls_that_work(caller: Any, draw: Draw, worker: Any) -> None:
    """The detail signs URLs for source, mask, overlay and manifest; anybody can read them."""
    picture = draw()
    task = (await caller.submit(await caller.upload(picture))).data["task_id"]
    await worker.complete(await worker.claim(task))

    detail = (await caller.ask("GET", f"/api/v1/results/{task}")).data

    assert (detail["status"], detail["instance_count"]) == ("done", 3)
    expected = {
        "source_download_url": picture,
        "manifest_download_url": b"manifest.json",
        "mask_download_url": b"mask.png",
        "overlay_download_url": b"overlay.webp",
    }
    async with aiohttp.ClientSession() as http:
        for name, data in expected.items():
            async with http.get(detail[name]) as answer:
                assert (answer.status, await answer.read()) == (200, data)


async def test_no_object_key_of_a_result_is_shown(caller: Any, draw: Draw, worker: Any) -> None:
    """The only key in an answer is image_url; the lists carry no URL of a result."""
    task = (await caller.submit(await caller.upload(draw()))).data["task_id"]
    await worker.complete(await worker.claim(task))

    page = (await caller.ask("GET", "/api/v1/results")).envelope
    state = (await caller.ask("GET", f"/api/v1/tasks/{task}")).envelope

    assert "results/" not in json.dumps(page)
    assert "results/" not in json.dumps(state)


async def test_wait_answers_as_soon_as_the_task_is_final(
    caller: Any, draw: Draw, worker: Any
) -> None:
    """`?wait=` turns 202 into 200 with the final state, long before the time is up."""
    image_url = await caller.upload(draw())
    body = {"image_url": image_url, "text_prompt": "cat"}
    waiting = asyncio.create_task(caller.ask("POST", "/api/v1/segment?wait=30", json=body))
    page: list[Any] = []
    async with asyncio.timeout(5):
        while not page:
            page = (await caller.ask("GET", "/api/v1/results")).data["items"]
    await worker.complete(await worker.claim(page[0]["task_id"]))

    async with asyncio.timeout(5):
        reply = await waiting

    assert (reply.status, reply.data["status"]) == (200, "done")


async def test_wait_gives_up_when_its_time_is_up(caller: Any, draw: Draw) -> None:
    """A task that no worker claims is answered as it is, with 202."""
    body = {"image_url": await caller.upload(draw()), "text_prompt": "cat"}
    started = time.monotonic()

    reply = await caller.ask("POST", "/api/v1/segment?wait=0.3", json=body)

    assert (reply.status, reply.data["status"]) == (202, "pending")
    assert 0.3 <= time.monotonic() - started < 3


async def test_a_good_task_does_change_what_the_refusals_look_at(
    caller: Any, db: psycopg.AsyncConnection[Any], draw: Draw
) -> None:
    """Negative control: the "nothing queued, nothing charged" look sees a task that was taken."""
    query = "select credits from public.users_profile where id = %s"
    image_url = await caller.upload(draw())
    before = await (await db.execute(query, (caller.user.id,))).fetchone()

    await caller.submit(image_url)

    assert await (await db.execute(query, (caller.user.id,))).fetchone() != before
