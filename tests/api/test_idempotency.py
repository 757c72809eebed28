"""One key, one task, one charge: repeated, and at the same moment."""

import asyncio
import json
from collections.abc import Awaitable, Callable
from typing import Any

import psycopg
import pytest

from api import task_store
from s3_sam3.contracts import bodies


Draw = Callable[..., bytes]

PLAIN = {"image_url": "uploads/u/p.png", "text_prompt": "cat"}

SAME = [
    {"deadline_seconds": None, "needs": None},
    {"needs": {}},
    {"needs": {"memory_mb": None}},
    {"threshold": 0.5},
    {"min_area": 0, "nms": None, "region": None, "tiles": 1, "floor": 0.25},
]

OTHER: list[dict[str, Any]] = [
    {"deadline_seconds": 60},
    {"needs": {"memory_mb": 1}},
    {"needs": {"memory_mb": 2}},
    {"needs": {"dtype": "bf16"}},
    {"needs": {"model_revision": "a"}},
    {"min_area": 1},
    {"nms": 0.5},
    {"region": [0, 0, 1, 1]},
    {"region": [0, 0, 1, 2]},
    {"tiles": 2},
    {"floor": 0},
    {"floor": 0.1},
    {"text_prompt": "dog"},
]


def hash_of(body: dict[str, Any]) -> str:
    """The hash that goes to the database."""
    return task_store.request_hash(bodies.SegmentRequest.model_validate(body))


@pytest.mark.parametrize("extra", SAME)
def test_what_is_not_asked_is_not_in_the_hash(extra: dict[str, Any]) -> None:
    """Spelling out a default, or asking for nothing, is the same request."""
    assert hash_of(PLAIN | extra) == hash_of(PLAIN)


def test_everything_that_is_asked_is_in_the_hash() -> None:
    """Negative control: each request that asks for something else has another hash."""
    digests = {hash_of(PLAIN | extra) for extra in OTHER}

    assert len(digests | {hash_of(PLAIN)}) == len(OTHER) + 1


async def test_the_same_key_is_the_same_task(caller: Any, draw: Draw) -> None:
    """A repeated request with its key answers the first task, says so, and costs nothing."""
    image_url = await caller.upload(draw())
    headers = {"Idempotency-Key": "once"}

    first = await caller.submit(image_url, headers=headers)
    second = await caller.submit(image_url, headers=headers)

    assert second.data["task_id"] == first.data["task_id"]
    assert "Idempotent-Replayed" not in first.headers
    assert second.headers["Idempotent-Replayed"] == "true"
    assert await caller.balance() == 99


async def test_field_order_does_not_change_a_request(caller: Any, draw: Draw) -> None:
    """The same request in another spelling of JSON is the same request."""
    image_url = await caller.upload(draw())
    headers = {"Idempotency-Key": "spelling"}
    one = json.dumps({"image_url": image_url, "text_prompt": "cat", "threshold": 0.5})
    other = json.dumps({"text_prompt": "cat", "image_url": image_url}, indent=4)

    first = await caller.ask("POST", "/api/v1/segment", data=one, headers=headers)
    second = await caller.ask("POST", "/api/v1/segment", data=other, headers=headers)

    assert first.data["task_id"] == second.data["task_id"]


@pytest.mark.parametrize("other", [{"text_prompt": "blue square"}, {"deadline_seconds": 60}])
async def test_the_same_key_with_another_request_is_a_conflict(
    caller: Any, draw: Draw, other: dict[str, Any]
) -> None:
    """A key never stands for two requests."""
    image_url = await caller.upload(draw())
    headers = {"Idempotency-Key": "conflict"}
    await caller.submit(image_url, headers=headers)

    body = {"image_url": image_url, "text_prompt": "red circle", **other}
    reply = await caller.ask("POST", "/api/v1/segment", json=body, headers=headers)

    assert (reply.status, reply.code) == (422, "idempotency_conflict")
    assert await caller.balance() == 99


async def test_a_key_belongs_to_its_user(
    new_caller: Callable[[], Awaitable[Any]], draw: Draw
) -> None:
    """The same key of two users is two tasks, so it reveals nothing of the other's."""
    headers = {"Idempotency-Key": "shared"}
    replies = []
    for _ in range(2):
        caller = await new_caller()
        replies.append(await caller.submit(await caller.upload(draw()), headers=headers))

    assert replies[0].data["task_id"] != replies[1].data["task_id"]
    assert [reply.status for reply in replies] == [202, 202]


async def test_a_deleted_results_key_queues_nothing_again(caller: Any, draw: Draw) -> None:
    """A late retry of a request whose result was deleted meanwhile is no second charge."""
    image_url = await caller.upload(draw())
    headers = {"Idempotency-Key": "deleted"}
    task = (await caller.submit(image_url, headers=headers)).data["task_id"]
    await caller.ask("DELETE", f"/api/v1/results/{task}")

    reply = await caller.submit(image_url, headers=headers)

    assert (reply.status, reply.code) == (422, "idempotency_conflict")
    assert await caller.balance() == 100


@pytest.mark.parametrize(("key", "tasks"), [("race", 1), (None, 40)])
async def test_forty_at_once_with_one_key_are_one_task(
    caller: Any, draw: Draw, key: str | None, tasks: int
) -> None:
    """
    A race of the same request queues once and holds once.

    Negative control: the same race without a key is forty tasks and forty holds.
    """
    image_url = await caller.upload(draw())
    headers = {} if key is None else {"Idempotency-Key": key}

    replies = await asyncio.gather(
        *(caller.submit(image_url, headers=dict(headers)) for _ in range(40))
    )

    assert {reply.status for reply in replies} == {202}
    assert len({reply.data["task_id"] for reply in replies}) == tasks
    assert sum("Idempotent-Replayed" not in reply.headers for reply in replies) == tasks
    assert await caller.ledger() == [("grant", 100)] + [("hold", 1)] * tasks
    assert await caller.balance() == 100 - tasks


@pytest.mark.parametrize(("given", "taken"), [(0, 25), (100, 50)])
async def test_fifty_at_once_never_overspend(
    caller: Any,
    draw: Draw,
    worker: Any,
    db: psycopg.AsyncConnection[Any],
    given: int,
    taken: int,
) -> None:
    """
    As many tasks are taken as there are credits for; the rest get 402, and nothing is below zero.

    Negative control: with credits for all, all are taken, so it is the credits that decide.
    """
    if given:
        arguments = {"p_user_id": caller.user.id, "p_credits": given, "p_reason": "test"}
        await worker.rest.rpc("grant_credits", arguments)
    image_url = await caller.upload(draw())
    prompts = [{"text": text} for text in ("cat", "dog", "cow", "hen")]

    replies = await asyncio.gather(
        *(caller.segment(image_url=image_url, prompts=prompts) for _ in range(50))
    )

    assert sorted(reply.status for reply in replies) == [202] * taken + [402] * (50 - taken)
    assert {reply.code for reply in replies} <= {None, "insufficient_credits"}
    assert await caller.balance() == 100 + given - 4 * taken
    mismatches = await db.execute(
        "select * from segmentation.ledger_mismatches() where user_id = %s", (caller.user.id,)
    )
    assert await mismatches.fetchall() == []
