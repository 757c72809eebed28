"""What a pending task tells: its position, how long still, what it lacks, until when it waits."""

from collections.abc import AsyncIterator, Callable
from datetime import datetime
from typing import Any

import psycopg
import pytest

from api import source_picture, task_store
from s3_sam3.contracts.errors import ErrorCode


Draw = Callable[..., bytes]

MUCH = {"memory_mb": 1_000_000}
"""A need that no machine of any test has."""


async def test_a_later_task_stands_behind_an_earlier_one(caller: Any, draw: Draw) -> None:
    """The position counts the tasks in front; a task that ended has none."""
    image_url = await caller.upload(draw())
    tasks = [(await caller.submit(image_url)).data["task_id"] for _ in range(2)]

    async def places() -> list[int | None]:
        path = "/api/v1/tasks/{}"
        states = [(await caller.ask("GET", path.format(task))).data for task in tasks]
        return [state["queue_position"] for state in states]

    first, second = await places()
    assert first is not None
    assert second is not None
    assert first < second
    await caller.ask("DELETE", f"/api/v1/tasks/{tasks[0]}")
    assert await places() == [None, second - 1]


async def test_an_eta_is_told_where_it_is_known(caller: Any, draw: Draw, worker: Any) -> None:
    """With a worker online that has done a task, there is an estimate; nothing blocks."""
    image_url = await caller.upload(draw())
    earlier = (await caller.submit(image_url)).data["task_id"]
    await worker.complete(await worker.claim(earlier))

    task = (await caller.submit(image_url)).data

    assert task["blocked_by"] is None
    assert task["eta_seconds"] >= 0


async def test_a_task_that_nobody_online_can_do_says_so(caller: Any, draw: Draw) -> None:
    """It waits, says what it waits for, and has no ETA; its price is held meanwhile."""
    image_url = await caller.upload(draw())

    reply = await caller.segment(image_url=image_url, needs=MUCH)

    assert (reply.status, reply.data["status"]) == (202, "pending")
    assert reply.data["blocked_by"]["code"] == "no_capable_worker"
    assert reply.data["blocked_by"]["retryable"] is True
    assert "online" in reply.data["blocked_by"]["message"]
    assert reply.data["eta_seconds"] is None
    assert (reply.data["credits"], reply.data["credits_charged"]) == (1, None)
    task = (await caller.ask("GET", f"/api/v1/tasks/{reply.data['task_id']}")).data
    assert task["blocked_by"] == reply.data["blocked_by"]


async def test_a_deadline_is_counted_from_the_submission(caller: Any, draw: Draw) -> None:
    """`expires_at` is `created_at` plus `deadline_seconds`; without one it is null."""
    image_url = await caller.upload(draw())

    bounded = (await caller.segment(image_url=image_url, deadline_seconds=90)).data
    free = (await caller.segment(image_url=image_url)).data

    waits = datetime.fromisoformat(bounded["expires_at"]) - datetime.fromisoformat(
        bounded["created_at"]
    )
    assert waits.total_seconds() == 90
    assert free["expires_at"] is None


async def test_a_result_tells_what_was_needed(caller: Any, draw: Draw) -> None:
    """The result has the needs of the request, and the pixels of the upload."""
    image_url = await caller.upload(draw(size=(64, 48)))
    asked = {"memory_mb": 2048, "dtype": "bf16"}
    task = (await caller.segment(image_url=image_url, needs=asked)).data["task_id"]

    result = (await caller.ask("GET", f"/api/v1/results/{task}")).data

    assert result["needs"] == {"model_revision": None, "pixels": 64 * 48, **asked}


async def test_an_upload_without_its_size_is_taken_too(
    caller: Any, draw: Draw, worker: Any
) -> None:
    """An upload without a noted size needs no pixels."""
    key = f"uploads/{caller.user.id}/{'0' * 64}.png"
    await worker.store.put(key, draw(), "image/png")

    task = (await caller.segment(image_url=key)).data["task_id"]

    result = (await caller.ask("GET", f"/api/v1/results/{task}")).data
    assert result["needs"]["pixels"] is None


async def test_a_turned_picture_has_the_same_pixels(caller: Any, draw: Draw, worker: Any) -> None:
    """The size beside the object is that of the answer to the upload."""
    data = draw("JPEG", size=(20, 10))
    upload = (await caller.ask("POST", "/api/v1/upload", data=data)).data

    head = await worker.store.head(upload["image_url"])

    noted = {"width": str(upload["width"]), "height": str(upload["height"])}
    assert dict(head.metadata) == noted
    size = source_picture.noted_size(head.metadata)
    assert size is not None
    assert size.pixels == 200


@pytest.mark.parametrize(
    "metadata",
    [{}, {"width": "4"}, {"width": "x", "height": "4"}, {"width": "-1", "height": "4"}],
)
def test_a_size_that_is_none_is_no_size(metadata: dict[str, str]) -> None:
    """A picture is not refused because its size is not noted."""
    assert source_picture.noted_size(metadata) is None


@pytest.fixture
async def crowded(
    caller: Any, worker: Any, db: psycopg.AsyncConnection[Any]
) -> AsyncIterator[None]:
    """The caller is `pro`, and for this test `pro` may have two tasks waiting."""
    tier = {"p_user_id": caller.user.id, "p_tier": "pro"}
    await worker.rest.rpc("set_user_tier", tier)
    found = await db.execute("select max_waiting from segmentation.tiers where tier = 'pro'")
    before = await found.fetchone()
    await db.execute("update segmentation.tiers set max_waiting = 2 where tier = 'pro'")
    yield
    await db.execute("update segmentation.tiers set max_waiting = %s where tier = 'pro'", before)


@pytest.mark.usefixtures("crowded")
async def test_too_many_waiting_tasks_are_refused_until_one_ends(caller: Any, draw: Draw) -> None:
    """429 with `Retry-After`, and nothing is held; when a task ends the next is taken."""
    image_url = await caller.upload(draw())
    tasks = [(await caller.submit(image_url)).data["task_id"] for _ in range(2)]

    reply = await caller.submit(image_url)

    assert (reply.status, reply.code) == (429, "rate_limited")
    assert reply.envelope["error"]["retryable"] is True
    assert int(reply.headers["Retry-After"]) > 0
    assert await caller.balance() == 98
    await caller.ask("DELETE", f"/api/v1/tasks/{tasks[0]}")
    assert (await caller.submit(image_url)).status == 202


@pytest.mark.usefixtures("crowded")
async def test_a_full_line_still_answers_a_replay(caller: Any, draw: Draw) -> None:
    """A retry of a task that was taken gets that task, not 429."""
    image_url = await caller.upload(draw())
    headers = {"Idempotency-Key": "mine"}
    first = await caller.submit(image_url, headers=headers)
    await caller.submit(image_url)

    again = await caller.submit(image_url, headers=headers)

    assert again.data["task_id"] == first.data["task_id"]


async def test_an_unknown_model_is_named(caller: Any, draw: Draw) -> None:
    """A revision that no machine has ever had is a bad request that says which."""
    needs = {"model_revision": "no-such-model"}

    reply = await caller.segment(image_url=await caller.upload(draw()), needs=needs)

    assert (reply.status, reply.code) == (400, "invalid_request")
    assert "no-such-model" in reply.envelope["error"]["details"]["reason"]
    assert await caller.balance() == 100


ROW: dict[str, Any] = {
    "id": "00000000-0000-4000-8000-000000000001",
    "status": "pending",
    "progress": 0,
    "cost": 1,
    "charged": None,
    "attempt_count": 0,
    "error_code": None,
    "error_message": None,
    "created_at": "2026-01-01T00:00:00Z",
    "expires_at": None,
    "started_at": None,
    "finished_at": None,
}


def test_a_code_that_is_newer_than_this_server_is_ours() -> None:
    """A database that is ahead makes no request fail."""
    task = task_store.task(ROW | {"status": "failed", "error_code": "from_the_future"})

    assert task.error is not None
    assert task.error.code is ErrorCode.INTERNAL
