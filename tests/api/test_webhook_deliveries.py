"""Deliveries by REST: what was sent, what was answered, and sending it again."""

import json
from collections.abc import Awaitable, Callable
from typing import Any

import psycopg
import pytest


PATH = "/api/v1/webhooks"


@pytest.fixture
async def webhook(caller: Any) -> str:
    """The path of a webhook of the caller's."""
    body = {"url": "https://receiver.example/hooks"}
    return f"{PATH}/{(await caller.ask('POST', PATH, json=body)).data['id']}"


Settle = Callable[..., Awaitable[None]]


@pytest.fixture
def settle(worker: Any) -> Settle:
    """Send one delivery: claim it, and say what the receiver answered."""

    async def send(delivery_id: str, status: int | None, **answer: Any) -> None:
        """Settle it."""
        claims = await worker.rest.rpc("claim_deliveries", {"p_limit": 1000})
        [claim] = [each for each in claims if each["id"] == delivery_id]
        said = {
            "p_id": delivery_id,
            "p_claim_token": claim["claim_token"],
            "p_status_code": status,
            "p_latency_ms": 7,
            **answer,
        }
        assert await worker.rest.rpc("settle_delivery", said) == "ok"

    return send


async def test_a_test_is_listed_with_its_attempts(
    caller: Any, webhook: str, settle: Settle, db: psycopg.AsyncConnection[Any]
) -> None:
    """Status, latency and the answer's beginning of each try, newest first."""
    queued = await caller.ask("POST", f"{webhook}/test")
    delivery_id = queued.data["delivery_id"]
    assert queued.status == 202
    await settle(delivery_id, None, p_error="no route")
    await db.execute(
        "update public.webhook_deliveries set next_attempt_at = now() where id = %s", [delivery_id]
    )
    await settle(delivery_id, 200, p_answer="thanks")

    [listed] = (await caller.ask("GET", f"{webhook}/deliveries")).data["items"]

    assert (listed["id"], listed["event"]) == (delivery_id, "webhook.test")
    assert (listed["status"], listed["attempt_count"]) == ("delivered", 2)
    assert (listed["last_status_code"], listed["next_attempt_at"]) == (200, None)
    assert json.loads(listed["body"])["type"] == "webhook.test"
    told = [
        (each["status_code"], each["latency_ms"], each["answer"], each["error"])
        for each in listed["attempts"]
    ]
    assert told == [(200, 7, "thanks", None), (None, 7, None, "no route")]


async def test_a_done_task_is_told(
    caller: Any, webhook: str, worker: Any, draw: Callable[..., bytes]
) -> None:
    """The end of a task is a delivery, pending until somebody sends it."""
    task = (await caller.submit(await caller.upload(draw()))).data["task_id"]
    await worker.complete(await worker.claim(task))

    [listed] = (await caller.ask("GET", f"{webhook}/deliveries")).data["items"]

    assert (listed["event"], listed["task_id"]) == ("task.done", task)
    assert (listed["status"], listed["attempts"]) == ("pending", [])
    assert listed["next_attempt_at"] is not None
    assert json.loads(listed["body"])["data"]["instance_count"] == 3


async def test_pages_show_every_delivery_once(
    caller: Any, webhook: str, db: psycopg.AsyncConnection[Any]
) -> None:
    """Following the cursors shows each one once, even where created_at is equal."""
    sent = [(await caller.ask("POST", f"{webhook}/test")).data["delivery_id"] for _ in range(7)]
    await db.execute(
        "update public.webhook_deliveries set created_at = '2026-01-01' where id = any(%s)",
        [sent[:5]],
    )
    seen: list[str] = []
    cursor = ""
    while True:
        page = (await caller.ask("GET", f"{webhook}/deliveries?limit=2{cursor}")).data
        assert len(page["items"]) <= 2
        seen += [item["id"] for item in page["items"]]
        if page["next_cursor"] is None:
            break
        cursor = f"&cursor={page['next_cursor']}"

    assert seen[:2] == [sent[6], sent[5]]
    assert sorted(seen) == sorted(sent)


async def test_a_page_can_be_narrowed(caller: Any, webhook: str, settle: Settle) -> None:
    """Only deliveries of one status."""
    first = (await caller.ask("POST", f"{webhook}/test")).data["delivery_id"]
    await settle(first, 410)
    reply = await caller.ask("GET", f"{webhook}/deliveries?status=dead")

    assert [item["id"] for item in reply.data["items"]] == [first]
    assert (await caller.ask("GET", f"{webhook}/deliveries?status=pending")).data["items"] == []


@pytest.mark.parametrize(
    "query",
    [
        "cursor=x",
        "cursor=WyIyMDI2LTAxLTAxIiwiYSxiKSJd",  # ["2026-01-01","a,b)"]
        "cursor=WyJ4IiwgIm1zZ18wMDAwMDAwMDAwMDAwMDAwMDAwMDAwMDAwMDAwMDAwMCJd",
        "limit=0",
        "limit=101",
        "status=begun",
        "event=task.done",
    ],
)
async def test_a_bad_query_is_refused(caller: Any, webhook: str, query: str) -> None:
    """A forged cursor cannot smuggle a filter in; unknown parameters are named."""
    assert (await caller.ask("GET", f"{webhook}/deliveries?{query}")).code == "invalid_request"


async def test_a_redelivery_is_pending_again(caller: Any, webhook: str, settle: Settle) -> None:
    """202, the same id, a fresh count; what was tried before stays listed."""
    delivery_id = (await caller.ask("POST", f"{webhook}/test")).data["delivery_id"]
    await settle(delivery_id, 200)
    reply = await caller.ask("POST", f"{webhook}/deliveries/{delivery_id}/redeliver")

    [listed] = (await caller.ask("GET", f"{webhook}/deliveries")).data["items"]
    assert (reply.status, reply.data) == (202, {"delivery_id": delivery_id})
    assert (listed["id"], listed["status"]) == (delivery_id, "pending")
    assert (listed["attempt_count"], len(listed["attempts"])) == (0, 1)


@pytest.mark.parametrize("delivery_id", ["x", "msg_" + "0" * 32, "msg_1,or(id.neq.x)"])
async def test_an_unknown_delivery_is_not_there(
    caller: Any, webhook: str, delivery_id: str
) -> None:
    """404, in whatever form the id is."""
    reply = await caller.ask("POST", f"{webhook}/deliveries/{delivery_id}/redeliver")

    assert (reply.status, reply.code) == (404, "not_found")


async def test_a_delivery_belongs_to_its_webhook(caller: Any, webhook: str) -> None:
    """Under another webhook of the same user it is not there."""
    delivery_id = (await caller.ask("POST", f"{webhook}/test")).data["delivery_id"]
    body = {"url": "https://receiver.example/other"}
    other = f"{PATH}/{(await caller.ask('POST', PATH, json=body)).data['id']}"

    reply = await caller.ask("POST", f"{other}/deliveries/{delivery_id}/redeliver")

    assert reply.code == "not_found"
    assert (await caller.ask("GET", f"{other}/deliveries")).data["items"] == []
