"""
Bad input, as a table: what is sent, and the code that must come back.

After every row nothing may be queued and nothing charged.
"""

import json
from collections.abc import Awaitable, Callable
from typing import Any
from uuid import uuid4

import psycopg
import pytest

from s3_sam3.contracts import limits


WORDS_33 = " ".join(["cat"] * 33)


async def everything_of(db: psycopg.AsyncConnection[Any], user_id: str) -> Any:
    """What a user has: credits, ledger rows, tasks."""
    query = """
        select credits, (select count(*) from public.usage_logs where user_id = p.id),
            (select count(*) from public.segmentation_results where user_id = p.id)
        from public.users_profile p where id = %s
    """
    return await (await db.execute(query, (user_id,))).fetchone()


def prompts(*texts: str) -> list[dict[str, Any]]:
    """Text prompts."""
    return [{"text": text} for text in texts]


def boxed(*xyxy: float) -> list[dict[str, Any]]:
    """A prompt with one box."""
    return [{"boxes": [{"xyxy": xyxy}]}]


SEGMENTS: dict[str, tuple[dict[str, Any], str]] = {
    "an upload that does not exist": (
        {"image_url": "uploads/{me}/" + "0" * 64 + ".png"},
        "source_not_found",
    ),
    "another user's picture": ({"image_url": "{theirs}"}, "source_not_found"),
    "a URL from anywhere": ({"image_url": "https://example.com/a.png"}, "source_not_found"),
    "a way out of the folder": ({"image_url": "uploads/{me}/../x.png"}, "source_not_found"),
    "an empty prompt": ({"text_prompt": ""}, "prompt_empty"),
    "a blank prompt": ({"text_prompt": " \n"}, "prompt_empty"),
    "a prompt without text or box": ({"prompts": [{"id": "a"}]}, "prompt_empty"),
    "33 words": ({"text_prompt": WORDS_33}, "prompt_too_long"),
    "31 words, which are 33 tokens": ({"text_prompt": WORDS_33[:-8]}, "prompt_too_long"),
    "401 characters": ({"text_prompt": "a" * 401}, "prompt_too_long"),
    "a long one among short ones": ({"prompts": prompts("cat", WORDS_33)}, "prompt_too_long"),
    "no prompt": ({"text_prompt": None}, "invalid_request"),
    "an empty list": ({"prompts": []}, "invalid_request"),
    "both forms": ({"text_prompt": "cat", "prompts": prompts("dog")}, "invalid_request"),
    "17 prompts": ({"prompts": prompts(*["cat"] * 17)}, "invalid_request"),
    "two prompts of one id": ({"prompts": [{"id": "a", "text": "x"}] * 2}, "invalid_request"),
    "an id that a nameless prompt gets": (
        {"prompts": [{"text": "x"}, {"id": "p0", "text": "y"}]},
        "invalid_request",
    ),
    "a box inside out": ({"prompts": boxed(9, 9, 1, 1)}, "invalid_request"),
    "a box of three numbers": ({"prompts": boxed(1, 2, 3)}, "invalid_request"),
    "a box without end": ({"prompts": boxed(0, 0, float("inf"), 5)}, "invalid_request"),
    "a label that is none": (
        {"prompts": [{"boxes": [{"xyxy": [0, 0, 1, 1], "label": "maybe"}]}]},
        "invalid_request",
    ),
    "a threshold over one": ({"text_prompt": "cat", "threshold": 1.5}, "invalid_request"),
    "a threshold that is no number": (
        {"text_prompt": "cat", "threshold": float("nan")},
        "invalid_request",
    ),
    "a field nobody knows": ({"text_prompt": "cat", "treshold": 0.4}, "invalid_request"),
    "a project that is not there": (
        {"text_prompt": "cat", "project_id": str(uuid4())},
        "not_found",
    ),
    "a deadline at once": ({"text_prompt": "cat", "deadline_seconds": 0}, "invalid_request"),
    "a deadline over a week": (
        {"text_prompt": "cat", "deadline_seconds": 604_801},
        "invalid_request",
    ),
    "a need nobody knows": ({"text_prompt": "cat", "needs": {"pixels": 1}}, "invalid_request"),
    "a dtype nobody computes in": (
        {"text_prompt": "cat", "needs": {"dtype": "int4"}},
        "invalid_request",
    ),
    "no memory at all": ({"text_prompt": "cat", "needs": {"memory_mb": 0}}, "invalid_request"),
    "a model that no machine has": (
        {"text_prompt": "cat", "needs": {"model_revision": "none"}},
        "invalid_request",
    ),
    "a region inside out": ({"text_prompt": "cat", "region": [9, 9, 1, 1]}, "invalid_request"),
    "a region of three numbers": ({"text_prompt": "cat", "region": [1, 2, 3]}, "invalid_request"),
    "a region beside the picture": (
        {"text_prompt": "cat", "region": [64, 0, 70, 9]},
        "invalid_request",
    ),
    "a region below the picture": (
        {"text_prompt": "cat", "region": [0, 48, 9, 50]},
        "invalid_request",
    ),
    "a box beside the picture": ({"prompts": boxed(64, 0, 70, 9)}, "prompt_invalid"),
    "a box beside the region": (
        {"prompts": boxed(0, 0, 9, 9), "region": [9, 0, 20, 20]},
        "prompt_invalid",
    ),
    "five tiles along a side": ({"text_prompt": "cat", "tiles": 5}, "invalid_request"),
    "tiles that cost more than there is": (
        {"prompts": prompts(*["cat"] * 6), "tiles": 4},
        "insufficient_credits",
    ),
    "more instances than one look finds": (
        {"text_prompt": "cat", "max_instances": 201},
        "invalid_request",
    ),
    "no overlap at all": ({"text_prompt": "cat", "nms": 0}, "invalid_request"),
    "an area below nothing": ({"text_prompt": "cat", "min_area": -1}, "invalid_request"),
    "a floor over one": ({"text_prompt": "cat", "floor": 1.1}, "invalid_request"),
    "a NUL in the text": ({"text_prompt": "a\0b"}, "invalid_request"),
}


@pytest.mark.parametrize("what", SEGMENTS)
async def test_a_bad_task_is_refused_and_costs_nothing(
    new_caller: Callable[[], Awaitable[Any]],
    db: psycopg.AsyncConnection[Any],
    draw: Callable[..., bytes],
    what: str,
) -> None:
    """Each bad request gets its code, and leaves credits, ledger and queue as they were."""
    me, them = await new_caller(), await new_caller()
    mine, theirs = await me.upload(draw()), await them.upload(draw())
    before = await everything_of(db, me.user.id)
    asked, code = SEGMENTS[what]
    body = {"image_url": mine, **asked}
    body["image_url"] = body["image_url"].format(me=me.user.id, theirs=theirs)
    if "image_url" in asked:
        body["text_prompt"] = "cat"

    reply = await me.ask("POST", "/api/v1/segment", data=json.dumps(body))

    assert reply.code == code, reply.envelope
    assert await everything_of(db, me.user.id) == before


BODIES = {
    "nothing": (b"", "empty_body"),
    "broken JSON": (b'{"image_url": ', "invalid_request"),
    "a list": (b"[]", "invalid_request"),
    "no text": (b"\xff\xfe\x00", "invalid_request"),
    "half a surrogate": (b'{"image_url": "\\ud800", "text_prompt": "a"}', "invalid_request"),
    "a deep nest": (b"[" * 100_000, "invalid_request"),
    "a megabyte": (b" " * 1_000_000 + b"{}", "file_too_large"),
}


@pytest.mark.parametrize("what", BODIES)
async def test_a_body_that_is_no_request_is_refused(caller: Any, what: str) -> None:
    """What is not the JSON of a request gets a code, never a crash."""
    raw, code = BODIES[what]

    assert (await caller.ask("POST", "/api/v1/segment", data=raw)).code == code


async def test_without_credits_nothing_is_queued(
    caller: Any, db: psycopg.AsyncConnection[Any], draw: Callable[..., bytes]
) -> None:
    """A task that costs more than there is gets 402, and the queue stays empty."""
    image_url = await caller.upload(draw())
    for _ in range(6):
        body = {"image_url": image_url, "prompts": prompts(*["cat"] * 16)}
        assert (await caller.ask("POST", "/api/v1/segment", json=body)).status == 202
    before = await everything_of(db, caller.user.id)

    reply = await caller.ask("POST", "/api/v1/segment", json=body)

    assert (reply.status, reply.code) == (402, "insufficient_credits")
    assert await everything_of(db, caller.user.id) == before
    assert before[0] == 100 - 96


ADDRESSES = [
    ("GET", "/api/v1/tasks/{other}", "not_found"),
    ("DELETE", "/api/v1/tasks/{other}", "not_found"),
    ("GET", "/api/v1/results/{other}", "not_found"),
    ("DELETE", "/api/v1/results/{other}", "not_found"),
    ("GET", "/api/v1/projects/{other}", "not_found"),
    ("DELETE", "/api/v1/projects/{other}", "not_found"),
    ("GET", "/api/v1/tasks/not-an-id", "not_found"),
    ("GET", "/api/v1/nothing", "not_found"),
    ("GET", "/", "not_found"),
    ("PUT", "/api/v1/results", "method_not_allowed"),
    ("GET", "/api/v1/segment", "method_not_allowed"),
    ("GET", "/api/v1/results?cursor=abc", "invalid_request"),
    ("GET", "/api/v1/results?cursor=W10", "invalid_request"),
    ("GET", "/api/v1/results?cursor=WzEsMl0", "invalid_request"),
    ("GET", "/api/v1/usage?cursor=WyJhIl0", "invalid_request"),
    ("GET", "/api/v1/usage?cursor=%F0%9F%98%80", "invalid_request"),
    ("GET", "/api/v1/results?limit=0", "invalid_request"),
    ("GET", "/api/v1/results?limit=101", "invalid_request"),
    ("GET", "/api/v1/results?status=lost", "invalid_request"),
    ("GET", "/api/v1/results?colour=red", "invalid_request"),
    ("GET", "/api/v1/results?limit=1&limit=2", "invalid_request"),
    ("POST", "/api/v1/segment?wait=61", "invalid_request"),
    ("POST", "/api/v1/segment?wait=nan", "invalid_request"),
]


@pytest.mark.parametrize(("method", "path", "code"), ADDRESSES)
async def test_a_bad_address_is_refused(caller: Any, method: str, path: str, code: str) -> None:
    """What is not there, not allowed or not understood has its code, inside an envelope."""
    reply = await caller.ask(method, path.format(other=uuid4()))

    assert reply.code == code


async def test_405_says_what_is_allowed(caller: Any) -> None:
    """`Allow` lists the methods of the path."""
    reply = await caller.ask("PUT", "/api/v1/projects")

    assert set(reply.headers["Allow"].split(",")) == {"GET", "HEAD", "POST"}


async def test_another_users_task_is_not_there(
    new_caller: Callable[[], Awaitable[Any]], draw: Callable[..., bytes]
) -> None:
    """Another user's id and an unknown id get the same answer, and change nothing."""
    me, them = await new_caller(), await new_caller()
    task = (await me.submit(await me.upload(draw()))).data["task_id"]

    for method, kind in [(m, k) for m in ("GET", "DELETE") for k in ("tasks", "results")]:
        reply = await them.ask(method, f"/api/v1/{kind}/{task}")
        assert (reply.status, reply.code) == (404, "not_found")
    assert (await me.ask("GET", f"/api/v1/tasks/{task}")).data["status"] == "pending"


@pytest.mark.parametrize("key", ["", " ", "k" * (limits.IDEMPOTENCY_KEY_CHARACTERS + 1)])
async def test_a_bad_idempotency_key_is_refused(caller: Any, key: str) -> None:
    """An empty or endless key is an error, not a request without a key."""
    reply = await caller.submit("uploads/x/y.png", headers={"Idempotency-Key": key})

    assert reply.code == "invalid_request"
