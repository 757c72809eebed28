"""How a task ends, and what it costs then: cancelled, failed, expired, deleted."""

from collections.abc import Callable
from typing import Any

import aiohttp
import psycopg
import pytest

from adapters.objects import ObjectNotFound


Draw = Callable[..., bytes]
PROMPTS = [{"text": text} for text in ("cat", "dog", "cow")]
NAMES = ("manifest.json", "mask.png", "overlay.webp")


async def queued(caller: Any, draw: Draw, **body: Any) -> str:
    """A new task of three prompts."""
    image_url = await caller.upload(draw())
    reply = await caller.segment(**{"image_url": image_url, "prompts": PROMPTS, **body})
    assert reply.status == 202, reply.envelope
    return str(reply.data["task_id"])


async def compute(worker: Any, task: str, prompts: int) -> int:
    """Claim a task and compute so many of its prompts; the token."""
    token = int((await worker.claim(task))["token"])
    told = {"p_token": token, "p_progress": prompts / 3, "p_computed": prompts}
    assert await worker.rest.rpc("report_progress", told) == "ok"
    return token


async def test_a_pending_task_is_cancelled_at_once_and_free(caller: Any, draw: Draw) -> None:
    """What was never begun costs nothing."""
    task = await queued(caller, draw)
    assert await caller.balance() == 97

    ended = (await caller.ask("DELETE", f"/api/v1/tasks/{task}")).data

    assert (ended["status"], ended["credits"], ended["credits_charged"]) == ("cancelled", 3, 0)
    assert ended["error"] is None
    assert await caller.balance() == 100


@pytest.mark.parametrize("computed", [0, 1, 3])
async def test_a_cancelled_task_costs_what_was_computed(
    caller: Any, draw: Draw, worker: Any, computed: int
) -> None:
    """Of three prompts those that were computed are charged; the ledger names the rest."""
    task = await queued(caller, draw)
    await compute(worker, task, computed)

    ended = (await caller.ask("DELETE", f"/api/v1/tasks/{task}")).data

    assert (ended["status"], ended["credits_charged"]) == ("cancelled", computed)
    told = {
        0: [("release", 3)],
        1: [("capture", 1), ("remainder", 2)],
        3: [("capture", 3)],
    }
    assert await caller.ledger() == [("grant", 100), ("hold", 3), *told[computed]]
    assert await caller.balance() == 100 - computed


async def test_a_final_task_cannot_be_cancelled(caller: Any, draw: Draw, worker: Any) -> None:
    """Done, failed and cancelled tasks answer 409 and keep what they are and cost."""
    done, failed, cancelled = [await queued(caller, draw) for _ in range(3)]
    await worker.complete(await worker.claim(done))
    ended = {"p_token": (await worker.claim(failed))["token"], "p_error_code": "prompt_too_long"}
    await worker.rest.rpc("fail_task", ended)
    await caller.ask("DELETE", f"/api/v1/tasks/{cancelled}")

    for task, status in ((done, "done"), (failed, "failed"), (cancelled, "cancelled")):
        reply = await caller.ask("DELETE", f"/api/v1/tasks/{task}")
        assert (reply.status, reply.code) == (409, "already_final")
        assert (await caller.ask("GET", f"/api/v1/tasks/{task}")).data["status"] == status
    assert await caller.balance() == 97


async def test_nothing_is_charged_before_the_end(caller: Any, draw: Draw, worker: Any) -> None:
    """`credits_charged` is null until the task is final, and then the price of a done one."""
    task = await queued(caller, draw)
    before = (await caller.ask("GET", f"/api/v1/tasks/{task}")).data
    claimed = await worker.claim(task)
    amid = (await caller.ask("GET", f"/api/v1/tasks/{task}")).data
    await worker.complete(claimed)
    after = (await caller.ask("GET", f"/api/v1/tasks/{task}")).data

    assert [each["credits_charged"] for each in (before, amid, after)] == [None, None, 3]


@pytest.mark.parametrize(("code", "charged"), [("prompt_too_long", 1), ("internal", 0)])
async def test_a_failed_task_says_why_and_what_it_cost(
    caller: Any,
    draw: Draw,
    worker: Any,
    db: psycopg.AsyncConnection[Any],
    code: str,
    charged: int,
) -> None:
    """Our faults cost nothing; a fault of the user's costs what was computed until then."""
    task = await queued(caller, draw)
    token = await compute(worker, task, 1)
    # The last attempt, so that a code of ours is final too.
    await db.execute(
        "update public.segmentation_results set max_attempts = 1 where id = %s", (task,)
    )
    await worker.rest.rpc("fail_task", {"p_token": token, "p_error_code": code})

    state = (await caller.ask("GET", f"/api/v1/tasks/{task}")).data

    assert (state["status"], state["error"]["code"]) == ("failed", code)
    assert state["error"]["message"]
    assert state["error"]["retryable"] is (code == "internal")
    assert state["credits_charged"] == charged
    assert await caller.balance() == 100 - charged


async def test_an_expired_task_says_so_and_costs_nothing(
    caller: Any, draw: Draw, worker: Any, db: psycopg.AsyncConnection[Any]
) -> None:
    """A task that still waits at its deadline is cancelled with the code `expired`."""
    task = await queued(caller, draw, deadline_seconds=60)
    await db.execute(
        "update public.segmentation_results set expires_at = now() where id = %s", (task,)
    )
    await worker.rest.rpc("reap_tasks", {"p_limit": 1000})

    state = (await caller.ask("GET", f"/api/v1/tasks/{task}")).data

    assert (state["status"], state["error"]["code"]) == ("cancelled", "expired")
    assert state["credits_charged"] == 0
    assert await caller.balance() == 100


async def test_a_deleted_results_objects_are_noted_and_not_touched(
    caller: Any, draw: Draw, worker: Any, db: psycopg.AsyncConnection[Any]
) -> None:
    """The row is gone at once; its folder is in the outbox, and the API deletes no object."""
    task = await queued(caller, draw)
    prefix = await worker.complete(await worker.claim(task))

    reply = await caller.ask("DELETE", f"/api/v1/results/{task}")

    assert reply.data == {"id": task}
    assert (await caller.ask("GET", f"/api/v1/results/{task}")).code == "not_found"
    noted = await db.execute(
        "select count(*) from segmentation.object_deletions where prefix = %s and due_at <= now()",
        (f"results/{caller.user.id}/{task}/",),
    )
    assert await noted.fetchone() == (1,)
    for name in NAMES:
        assert (await worker.store.head(prefix + name)).size > 0


async def test_a_url_handed_out_before_a_deletion_ends_with_its_object(
    caller: Any, draw: Draw, worker: Any
) -> None:
    """It reads the object until that is deleted, and nothing afterwards."""
    task = await queued(caller, draw)
    prefix = await worker.complete(await worker.claim(task))
    url = (await caller.ask("GET", f"/api/v1/results/{task}")).data["mask_download_url"]
    await caller.ask("DELETE", f"/api/v1/results/{task}")

    async with aiohttp.ClientSession() as http:
        async with http.get(url) as answer:
            assert (answer.status, await answer.read()) == (200, b"mask.png")
        await worker.store.delete_prefix(prefix)
        async with http.get(url) as answer:
            assert answer.status == 404
    with pytest.raises(ObjectNotFound):
        await worker.store.head(prefix + "mask.png")


async def test_deleting_the_result_of_a_live_task_stops_it(
    caller: Any, draw: Draw, worker: Any
) -> None:
    """It is cancelled first: its worker's token is stale, and what was not computed comes back."""
    task = await queued(caller, draw)
    token = await compute(worker, task, 1)

    await caller.ask("DELETE", f"/api/v1/results/{task}")

    assert await worker.rest.rpc("renew_lease", {"p_token": token}) == "stale"
    assert await caller.balance() == 99
