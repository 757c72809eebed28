"""Waking listeners by webhook: signed hints by pg_net."""

import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import psycopg
import pytest
from database.callers import Pool
from database.webhook_calls import hints_of_one_task, tells
from psycopg.rows import DictRow

from s3_sam3 import signatures


VECTORS = json.loads((Path(__file__).parents[1] / "vectors/webhook_signatures.json").read_text())[
    "vectors"
]
SIGNED = [vector for vector in VECTORS if vector["error"] is None]


@pytest.fixture(autouse=True)
async def _clean(operator: Any) -> AsyncIterator[None]:
    """No target before, none left behind: each would make every test's inserts hint."""
    await operator.rows("delete from segmentation.wake_targets")
    yield
    await operator.rows("delete from segmentation.wake_targets")


async def test_what_is_sent_carries_ids_only(owner: Any, service: Any, pool: Pool) -> None:
    """Where a target is, pg_net gets the body of a Database Webhook; where none is, nothing."""
    assert await hints_of_one_task(pool, owner) == []
    await service.call("register_wake_target", p_name="a", p_url="http://127.0.0.1:9/x")
    [hint] = await hints_of_one_task(pool, owner)
    body = json.loads(hint["body"])
    assert body.pop("record").keys() == {"id", "kind", "status"}
    assert body == {
        "type": "INSERT",
        "schema": "public",
        "table": "segmentation_results",
        "old_record": None,
    }


async def test_a_kick_is_signed_and_carries_no_secret(
    owner: Any, service: Any, pool: Pool, operator: Any
) -> None:
    """pg_net shows headers to everybody: there is a signature of this body, and no secret."""
    secret = await service.call(
        "register_wake_target", p_name="a", p_url="http://127.0.0.1:9/webhooks/supabase"
    )
    [hint] = await hints_of_one_task(pool, owner)
    headers = hint["headers"]
    assert headers.keys() == {
        "content-type",
        "webhook-id",
        "webhook-timestamp",
        "webhook-signature",
    }
    assert not tells(hint, secret)
    assert headers["webhook-id"].startswith("msg_")
    assert headers["webhook-signature"] == await operator.value(
        "select segmentation.webhook_signature(%s, %s, %s, %s)",
        secret,
        headers["webhook-id"],
        int(headers["webhook-timestamp"]),
        hint["body"],
    )


async def test_each_target_is_kicked_with_its_own_secret(
    owner: Any, service: Any, pool: Pool
) -> None:
    """Two listeners, two signatures of the same message."""
    for name in ("a", "b"):
        await service.call("register_wake_target", p_name=name, p_url=f"http://127.0.0.1:9/{name}")
    hints = await hints_of_one_task(pool, owner)
    assert [hint["url"] for hint in hints] == ["http://127.0.0.1:9/a", "http://127.0.0.1:9/b"]
    assert len({hint["headers"]["webhook-id"] for hint in hints}) == 1
    assert len({hint["headers"]["webhook-signature"] for hint in hints}) == 2


async def test_a_removed_target_is_not_told(owner: Any, service: Any, pool: Pool) -> None:
    """Nobody is left to be told, so nothing is sent."""
    await service.call("register_wake_target", p_name="a", p_url="http://127.0.0.1:9/x")
    assert await service.call("remove_wake_target", p_name="a") == "ok"
    assert await hints_of_one_task(pool, owner) == []
    assert await service.table("wake_targets") == []


async def test_a_hint_that_fails_never_costs_a_task(owner: Any, service: Any, pool: Pool) -> None:
    """With pg_net broken the task is there all the same."""
    await service.call("register_wake_target", p_name="a", p_url="http://127.0.0.1:9/x")
    async with pool.connection() as connection, connection.transaction(force_rollback=True):
        await connection.execute("alter table net.http_request_queue rename to elsewhere")
        claims = json.dumps({"role": "authenticated", "sub": owner.id})
        await connection.execute("select set_config('request.jwt.claims', %s, true)", [claims])
        written = await connection.execute(
            "insert into public.segmentation_results (source_image_url, prompts)"
            ' values (%s, \'[{"text": "cat"}]\') returning id',
            [owner.upload()],
        )
        assert len(await written.fetchall()) == 1


async def test_registering_again_keeps_the_secret(service: Any) -> None:
    """A listener that moves is told at its new address, with the secret it knows."""
    first = await service.call("register_wake_target", p_name="a", p_url="http://127.0.0.1:1/x")
    again = await service.call("register_wake_target", p_name="a", p_url="http://127.0.0.1:2/x")
    [target] = await service.table("wake_targets")
    assert first == again
    assert target["secrets"] == [first]
    assert (target["name"], target["url"]) == ("a", "http://127.0.0.1:2/x")


@pytest.mark.parametrize("function", ["remove_wake_target", "rotate_wake_secret"])
async def test_an_unknown_target_is_not_found(service: Any, refused: Any, function: str) -> None:
    """A name that nobody has is an error, so that a typing mistake is seen."""
    with refused("PT404", "not_found"):
        await service.call(function, p_name="nobody")


async def test_for_a_day_after_a_rotation_both_secrets_sign(
    owner: Any, service: Any, operator: Any, pool: Pool
) -> None:
    """A host that learns the new secret within a day takes every message; afterwards one signs."""
    old = await service.call("register_wake_target", p_name="a", p_url="http://127.0.0.1:9/x")
    new = await service.call("rotate_wake_secret", p_name="a")
    [hint] = await hints_of_one_task(pool, owner)
    assert [takes(secret, hint) for secret in (new, old)] == [True, True]
    assert (await service.table("wake_targets"))[0]["secrets"] == [new, old]

    await operator.rows(
        "update segmentation.wake_targets set old_secret_until = now() - interval '1 second'"
    )
    [hint] = await hints_of_one_task(pool, owner)
    assert [takes(secret, hint) for secret in (new, old)] == [True, False]
    assert (await service.table("wake_targets"))[0]["secrets"] == [new]


async def test_of_three_secrets_the_last_two_sign(owner: Any, service: Any, pool: Pool) -> None:
    """A second rotation, as after a theft, ends the first secret at once."""
    first = await service.call("register_wake_target", p_name="a", p_url="http://127.0.0.1:9/x")
    second = await service.call("rotate_wake_secret", p_name="a")
    third = await service.call("rotate_wake_secret", p_name="a")
    [hint] = await hints_of_one_task(pool, owner)
    assert [takes(secret, hint) for secret in (third, second, first)] == [True, True, False]


def takes(secret: str, hint: DictRow) -> bool:
    """Whether a listener with *secret* takes the hint."""
    headers = hint["headers"]
    try:
        signatures.verify(
            (secret,), headers, hint["body"].encode(), int(headers["webhook-timestamp"])
        )
    except signatures.WrongSignature:
        return False
    return True


async def test_wake_targets_are_for_operators(owner: Any, machine: Any) -> None:
    """Neither users nor machines see who is woken, nor by which secret."""
    for caller in (owner, machine):
        with pytest.raises(psycopg.errors.InsufficientPrivilege):
            await caller.table("wake_targets")
        with pytest.raises(psycopg.errors.InsufficientPrivilege):
            await caller.rows("select * from segmentation.wake_targets")


@pytest.mark.parametrize("vector", SIGNED, ids=lambda vector: str(vector["name"]))
async def test_sql_signs_as_the_vectors_do(operator: Any, vector: dict[str, Any]) -> None:
    """One of the header's signatures is what SQL makes of the same body, id and time."""
    headers = vector["headers"]
    signed = [
        await operator.value(
            "select segmentation.webhook_signature(%s, %s, %s, %s)",
            secret,
            headers["webhook-id"],
            int(headers["webhook-timestamp"]),
            vector["body"],
        )
        for secret in vector["secrets"]
    ]
    assert set(signed) & set(headers["webhook-signature"].split(" "))
