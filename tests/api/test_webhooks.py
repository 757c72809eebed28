"""Webhooks by REST: made, read, changed, deleted; by their owner alone."""

import json
from collections.abc import Awaitable, Callable
from typing import Any

import psycopg
import pytest

from s3_sam3.contracts import limits, webhooks


URL = "https://receiver.example/hooks"
PATH = "/api/v1/webhooks"


async def make(caller: Any, **body: Any) -> dict[str, Any]:
    """Add a webhook; what was answered."""
    reply = await caller.ask("POST", PATH, json={"url": URL, **body})
    assert reply.status == 201, reply.envelope
    data: dict[str, Any] = reply.data
    return data


async def test_a_webhook_is_made_with_every_end_of_a_task(caller: Any) -> None:
    """201, where it is, its secret, and the default events."""
    reply = await caller.ask("POST", PATH, json={"url": URL, "description": "mine"})

    assert reply.status == 201
    assert reply.headers["Location"] == f"{PATH}/{reply.data['id']}"
    assert reply.data["secret"].startswith("whsec_")
    assert reply.data["events"] == list(webhooks.DEFAULT_EVENTS)
    assert (reply.data["url"], reply.data["description"]) == (URL, "mine")
    assert (reply.data["enabled"], reply.data["failures"]) == (True, 0)


async def test_the_secret_is_shown_once(caller: Any, server: Any) -> None:
    """No later answer has it, nor the server's log."""
    made = await make(caller)
    path = f"{PATH}/{made['id']}"
    later = [
        await caller.ask("GET", PATH),
        await caller.ask("GET", path),
        await caller.ask("PATCH", path, json={"description": "x"}),
        await caller.ask("GET", f"{path}/deliveries"),
    ]

    assert all(made["secret"] not in json.dumps(reply.envelope) for reply in later)
    assert made["secret"] not in server.log.read_text()


async def test_webhooks_are_kept_by_their_owner(caller: Any) -> None:
    """Listed oldest first, read, changed in part, switched off, deleted."""
    first, second = await make(caller), await make(caller, events=["task.progress"])
    path = f"{PATH}/{first['id']}"

    listed = (await caller.ask("GET", PATH)).data["items"]
    assert [item["id"] for item in listed] == [first["id"], second["id"]]
    changed = (await caller.ask("PATCH", path, json={"events": ["task.done"]})).data
    assert (changed["url"], changed["events"]) == (URL, ["task.done"])
    off = (await caller.ask("PATCH", path, json={"enabled": False})).data
    assert (off["enabled"], off["disabled_reason"]) == (False, "owner")
    assert (await caller.ask("GET", path)).data == off
    assert (await caller.ask("DELETE", path)).data == {"id": first["id"]}
    assert (await caller.ask("GET", path)).code == "not_found"


async def test_another_users_webhook_is_not_there(
    new_caller: Callable[[], Awaitable[Any]],
) -> None:
    """Every operation on it answers 404, and it is in no list of theirs."""
    me, them = await new_caller(), await new_caller()
    path = f"{PATH}/{(await make(me))['id']}"
    delivery = (await me.ask("POST", f"{path}/test")).data["delivery_id"]
    asked = [
        ("GET", path),
        ("PATCH", path),
        ("DELETE", path),
        ("POST", f"{path}/test"),
        ("POST", f"{path}/rotate-secret"),
        ("GET", f"{path}/deliveries"),
        ("POST", f"{path}/deliveries/{delivery}/redeliver"),
    ]

    for method, where in asked:
        body = {"json": {"enabled": False}} if method == "PATCH" else {}
        reply = await them.ask(method, where, **body)
        assert (reply.status, reply.code) == (404, "not_found"), where
    assert (await them.ask("GET", PATH)).data == {"items": []}
    assert (await me.ask("GET", path)).data["enabled"]


@pytest.mark.parametrize(
    "path", [f"{PATH}/x", f"{PATH}/x/deliveries", f"{PATH}/00000000-0000-4000-8000-000000000000"]
)
async def test_what_never_was_is_not_there(caller: Any, path: str) -> None:
    """An id that is none, and one that nobody has, answer alike."""
    assert (await caller.ask("GET", path)).code == "not_found"


@pytest.mark.parametrize(
    "body",
    [
        {},
        {"url": "http://receiver.example/"},
        {"url": "https://user:pw@receiver.example/"},
        {"url": "ftp://receiver.example/"},
        {"url": "https://receiver.example/" + "x" * limits.MAX_WEBHOOK_URL_CHARACTERS},
        {"url": URL, "events": []},
        {"url": URL, "events": ["task.begun"]},
        {"url": URL, "events": ["webhook.test"]},
        {"url": URL, "description": "x" * 501},
        {"url": URL, "secret": "whsec_mine"},
    ],
)
async def test_a_bad_webhook_is_refused(caller: Any, body: dict[str, Any]) -> None:
    """400, with the fields named; nothing is made."""
    reply = await caller.ask("POST", PATH, json=body)

    assert (reply.status, reply.code) == (400, "invalid_request")
    assert reply.envelope["error"]["details"]["fields"]
    assert (await caller.ask("GET", PATH)).data == {"items": []}


@pytest.mark.parametrize("body", [{}, {"url": None}, {"url": "http://receiver.example"}])
async def test_a_change_of_nothing_or_to_nonsense_is_refused(caller: Any, body: Any) -> None:
    """A PATCH has at least one field, and each is valid."""
    path = f"{PATH}/{(await make(caller))['id']}"

    assert (await caller.ask("PATCH", path, json=body)).code == "invalid_request"


async def test_plain_http_is_for_the_same_machine(caller: Any) -> None:
    """Loopback is accepted for development; the dispatcher decides whether it sends there."""
    made = await make(caller, url="http://127.0.0.1:8080/hooks")

    assert made["url"] == "http://127.0.0.1:8080/hooks"


async def test_the_eleventh_webhook_is_refused(caller: Any) -> None:
    """429, with the reason and when to ask again."""
    for _ in range(limits.MAX_WEBHOOKS):
        await make(caller)
    reply = await caller.ask("POST", PATH, json={"url": URL})

    assert (reply.status, reply.code) == (429, "rate_limited")
    assert "ten webhooks" in reply.envelope["error"]["details"]["reason"]
    assert "Retry-After" in reply.headers


async def test_a_rotation_answers_another_secret(caller: Any) -> None:
    """The new one is in this answer."""
    made = await make(caller)
    reply = await caller.ask("POST", f"{PATH}/{made['id']}/rotate-secret")

    assert reply.data["id"] == made["id"]
    assert reply.data["secret"].startswith("whsec_")
    assert reply.data["secret"] != made["secret"]


async def test_a_switched_off_webhook_is_not_tested(caller: Any) -> None:
    """400 and why, instead of a delivery that would wait."""
    path = f"{PATH}/{(await make(caller))['id']}"
    await caller.ask("PATCH", path, json={"enabled": False})
    reply = await caller.ask("POST", f"{path}/test")

    assert reply.code == "invalid_request"
    assert "switched off" in reply.envelope["error"]["details"]["reason"]


async def test_a_token_is_needed(nobody: Any) -> None:
    """Without one every path is 401."""
    for method, path in (("GET", PATH), ("POST", PATH), ("GET", f"{PATH}/x/deliveries")):
        assert (await nobody.ask(method, path)).status == 401


async def test_a_paused_webhook_says_until_when(
    caller: Any, db: psycopg.AsyncConnection[Any]
) -> None:
    """After failures `paused_until` tells; a PATCH ends the pause."""
    made = await make(caller)
    await db.execute(
        "update public.webhook_endpoints set failures = 5,"
        " circuit_open_until = now() + interval '1 minute' where id = %s",
        [made["id"]],
    )
    path = f"{PATH}/{made['id']}"

    paused = (await caller.ask("GET", path)).data
    mended = (await caller.ask("PATCH", path, json={"description": "looked at"})).data

    assert (paused["failures"], paused["paused_until"] is not None) == (5, True)
    assert (mended["failures"], mended["paused_until"]) == (0, None)
