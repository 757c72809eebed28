"""A task's way through the public door: submitted, watched, cancelled, deleted."""

import asyncio
import json
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import aiohttp
import psycopg
import pytest

from adapters.objects import ObjectNotFound, ObjectStore
from adapters.rest import Rest
from devstack import testing


Draw = Callable[..., bytes]


@pytest.fixture
async def worker(stack: testing.Stack) -> AsyncIterator[Rest]:
    """The worker's side of the queue, with the service key."""
    async with Rest(url=stack.url, key=stack.service_key) as rest:
        yield rest


@pytest.fixture
async def store(stack: testing.Stack) -> AsyncIterator[ObjectStore]:
    """The object store, with the operator's key."""
    async with ObjectStore(
        endpoint=stack.r2_endpoint,
        access_key_id=stack.r2_access_key_id,
        secret_access_key=stack.r2_secret_access_key,
        bucket=stack.r2_bucket,
    ) as opened:
        yield opened


async def claim(worker: Rest, task_id: str) -> dict[str, Any]:
    """Claim tasks until it is that one; others belong to tests that have ended."""
    for _ in range(200):
        for claimed in await worker.rpc("claim_tasks", {"p_worker": "test", "p_limit": 10}):
            if claimed["id"] == task_id:
                return dict(claimed)
    raise AssertionError(task_id)


async def complete(worker: Rest, store: ObjectStore, claimed: dict[str, Any]) -> str:
    """Store results and settle; the prefix they lie under."""
    prefix = f"results/{claimed['user_id']}/{claimed['id']}/{claimed['token']}/"
    for name in ("manifest.json", "mask.png", "overlay.webp"):
        await store.put(prefix + name, name.encode(), "application/octet-stream")
    settled = await worker.rpc(
        "complete_task",
        {
            "p_token": claimed["token"],
            "p_manifest_url": prefix + "manifest.json",
            "p_mask_image_url": prefix + "mask.png",
            "p_overlay_image_url": prefix + "overlay.webp",
            "p_instance_count": 3,
            "p_summary": {"instances": [3]},
        },
    )
    assert settled == "ok"
    return prefix


async def balance(caller: Any) -> int:
    """Credits free to spend."""
    return int((await caller.ask("GET", "/api/v1/me")).data["credits"])


async def test_a_task_is_queued_and_its_credits_are_held(caller: Any, draw: Draw) -> None:
    """202, pending, with a place in the queue; one credit per prompt leaves the balance."""
    image_url = await caller.upload(draw())
    body = {"image_url": image_url, "prompts": [{"text": "cat"}, {"text": "dog"}]}

    reply = await caller.ask("POST", "/api/v1/segment", json=body)

    assert (reply.status, reply.data["status"], reply.data["credits"]) == (202, "pending", 2)
    assert reply.data["queue_position"] >= 0
    assert reply.headers["Location"] == f"/api/v1/tasks/{reply.data['task_id']}"
    assert await balance(caller) == 98


async def test_both_forms_of_a_prompt_mean_the_same(caller: Any, draw: Draw) -> None:
    """`text_prompt` is one prompt named p0, with the default options."""
    task = (await caller.submit(await caller.upload(draw()))).data["task_id"]

    result = (await caller.ask("GET", f"/api/v1/results/{task}")).data

    assert result["prompts"] == [{"id": "p0", "text": "red circle", "boxes": [], "threshold": None}]
    assert result["text_prompt"] == "red circle"
    assert result["options"] == {"threshold": 0.5, "mask_threshold": 0.5, "max_instances": 200}


async def test_the_same_key_is_the_same_task(caller: Any, draw: Draw) -> None:
    """A repeated request with its key answers the first task, says so, and costs nothing."""
    image_url = await caller.upload(draw())
    headers = {"Idempotency-Key": "once"}

    first = await caller.submit(image_url, headers=headers)
    second = await caller.submit(image_url, headers=headers)

    assert second.data["task_id"] == first.data["task_id"]
    assert "Idempotent-Replayed" not in first.headers
    assert second.headers["Idempotent-Replayed"] == "true"
    assert await balance(caller) == 99


async def test_field_order_does_not_change_a_request(caller: Any, draw: Draw) -> None:
    """The same request in another spelling of JSON is the same request."""
    image_url = await caller.upload(draw())
    headers = {"Idempotency-Key": "spelling"}
    one = json.dumps({"image_url": image_url, "text_prompt": "cat", "threshold": 0.5})
    other = json.dumps({"text_prompt": "cat", "image_url": image_url}, indent=4)

    first = await caller.ask("POST", "/api/v1/segment", data=one, headers=headers)
    second = await caller.ask("POST", "/api/v1/segment", data=other, headers=headers)

    assert first.data["task_id"] == second.data["task_id"]


async def test_the_same_key_with_another_request_is_a_conflict(caller: Any, draw: Draw) -> None:
    """A key never stands for two requests."""
    image_url = await caller.upload(draw())
    headers = {"Idempotency-Key": "conflict"}
    await caller.submit(image_url, headers=headers)

    reply = await caller.submit(image_url, "blue square", headers=headers)

    assert (reply.status, reply.code) == (422, "idempotency_conflict")
    assert await balance(caller) == 99


async def test_a_key_belongs_to_its_user(
    new_caller: Callable[[], Awaitable[Any]], draw: Draw
) -> None:
    """Another user's key is no oracle: the same key makes each their own task."""
    headers = {"Idempotency-Key": "shared"}
    replies = []
    for _ in range(2):
        caller = await new_caller()
        replies.append(await caller.submit(await caller.upload(draw()), headers=headers))

    assert replies[0].data["task_id"] != replies[1].data["task_id"]
    assert [reply.status for reply in replies] == [202, 202]


async def test_twenty_at_once_with_one_key_are_one_task(caller: Any, draw: Draw) -> None:
    """A race of the same request queues and charges once."""
    image_url = await caller.upload(draw())
    headers = {"Idempotency-Key": "race"}

    replies = await asyncio.gather(
        *(caller.submit(image_url, headers=dict(headers)) for _ in range(20))
    )

    assert len({reply.data["task_id"] for reply in replies}) == 1
    assert sum("Idempotent-Replayed" not in reply.headers for reply in replies) == 1
    assert await balance(caller) == 99


async def test_a_cancelled_task_gives_its_credits_back(caller: Any, draw: Draw) -> None:
    """Cancelling works once; then the task is final."""
    task = (await caller.submit(await caller.upload(draw()))).data["task_id"]

    first = await caller.ask("DELETE", f"/api/v1/tasks/{task}")
    second = await caller.ask("DELETE", f"/api/v1/tasks/{task}")

    assert first.data["status"] == "cancelled"
    assert (second.status, second.code) == (409, "already_final")
    assert await balance(caller) == 100


async def test_a_done_task_has_urls_that_work(
    caller: Any, draw: Draw, worker: Rest, store: ObjectStore
) -> None:
    """The detail signs URLs for source, mask, overlay and manifest; anybody can read them."""
    picture = draw()
    task = (await caller.submit(await caller.upload(picture))).data["task_id"]
    await complete(worker, store, await claim(worker, task))

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


async def test_no_object_key_of_a_result_is_shown(
    caller: Any, draw: Draw, worker: Rest, store: ObjectStore
) -> None:
    """Of all keys only image_url leaves; the lists carry no URL of a result at all."""
    task = (await caller.submit(await caller.upload(draw()))).data["task_id"]
    await complete(worker, store, await claim(worker, task))

    page = (await caller.ask("GET", "/api/v1/results")).envelope
    state = (await caller.ask("GET", f"/api/v1/tasks/{task}")).envelope

    assert "results/" not in json.dumps(page)
    assert "results/" not in json.dumps(state)


async def test_a_deleted_result_takes_its_objects_along(
    caller: Any, draw: Draw, worker: Rest, store: ObjectStore
) -> None:
    """Row and objects go; the upload stays, since other tasks may use it."""
    image_url = await caller.upload(draw())
    task = (await caller.submit(image_url)).data["task_id"]
    prefix = await complete(worker, store, await claim(worker, task))

    reply = await caller.ask("DELETE", f"/api/v1/results/{task}")

    assert reply.data == {"id": task}
    assert (await caller.ask("GET", f"/api/v1/results/{task}")).code == "not_found"
    for name in ("manifest.json", "mask.png", "overlay.webp"):
        with pytest.raises(ObjectNotFound):
            await store.head(prefix + name)
    assert (await store.head(image_url)).size == len(draw())


async def test_a_failed_task_says_why(caller: Any, draw: Draw, worker: Rest) -> None:
    """The error carries code, message and whether a new try may help; the credits come back."""
    task = (await caller.submit(await caller.upload(draw()))).data["task_id"]
    claimed = await claim(worker, task)
    await worker.rpc("fail_task", {"p_token": claimed["token"], "p_error_code": "prompt_too_long"})

    state = (await caller.ask("GET", f"/api/v1/tasks/{task}")).data

    assert state["status"] == "failed"
    assert (state["error"]["code"], state["error"]["retryable"]) == ("prompt_too_long", False)
    assert state["error"]["message"]
    assert await balance(caller) == 100


async def test_wait_answers_as_soon_as_the_task_is_final(
    caller: Any, draw: Draw, worker: Rest, store: ObjectStore
) -> None:
    """`?wait=` turns 202 into 200 with the final state, long before the time is up."""
    image_url = await caller.upload(draw())
    body = {"image_url": image_url, "text_prompt": "cat"}
    waiting = asyncio.create_task(caller.ask("POST", "/api/v1/segment?wait=30", json=body))
    page: list[Any] = []
    async with asyncio.timeout(5):
        while not page:
            page = (await caller.ask("GET", "/api/v1/results")).data["items"]
    await complete(worker, store, await claim(worker, page[0]["task_id"]))

    async with asyncio.timeout(5):
        reply = await waiting

    assert (reply.status, reply.data["status"]) == (200, "done")


async def test_wait_gives_up_when_its_time_is_up(caller: Any, draw: Draw) -> None:
    """A task that nobody works on is answered as it is, with 202."""
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
