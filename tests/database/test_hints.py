"""Realtime: which hints are sent, and who may hear them."""

import json
from typing import Any

import psycopg


async def hints(operator: Any, topic: str) -> list[tuple[str, Any]]:
    """Events and payloads broadcast on *topic*, oldest first."""
    rows = await operator.rows(
        "select event, payload from realtime.messages where topic = %s order by inserted_at, ctid",
        topic,
    )
    return [(row["event"], row["payload"]) for row in rows]


async def test_a_new_task_wakes_the_workers(owner: Any, operator: Any) -> None:
    """The insert sends ids only, on the topic of its kind."""
    task = await owner.submit()
    assert await hints(operator, "workers:image") == [("task_pending", {"id": task["id"]})]


async def test_a_refused_task_wakes_nobody(owner: Any, operator: Any, refused: Any) -> None:
    """A hint is part of the transaction that queues the task."""
    with refused("PT422", "prompt_empty"):
        await owner.submit(p_prompts=[])
    assert await hints(operator, "workers:image") == []


async def test_a_release_wakes_the_workers_a_backoff_does_not(
    owner: Any, machine: Any, operator: Any
) -> None:
    """Only a task that is due is worth a hint."""
    await owner.submit()
    [claim] = await machine.claim()
    await machine.call("release_task", p_token=claim["token"])
    assert len(await hints(operator, "workers:image")) == 2
    [claim] = await machine.claim()
    await machine.call("fail_task", p_token=claim["token"], p_error_code="pipeline_failed")
    assert len(await hints(operator, "workers:image")) == 2


async def test_the_owner_hears_each_visible_step(owner: Any, machine: Any, operator: Any) -> None:
    """Claim, progress and completion are told in order; a renewal and a repetition are not."""
    await owner.submit()
    [claim] = await machine.claim()
    for share in (0.25, 0.25):
        await machine.call("report_progress", p_token=claim["token"], p_progress=share)
    await machine.call("renew_lease", p_token=claim["token"])
    await machine.complete(claim)
    told = await hints(operator, f"user:{owner.id}")
    assert [(event, body["status"], body["progress"]) for event, body in told] == [
        ("task_changed", "processing", 0),
        ("task_changed", "processing", 0.25),
        ("task_changed", "done", 1),
    ]
    assert all(set(body) == {"id", "status", "progress"} for _, body in told)


async def test_results_are_published(operator: Any) -> None:
    """Apps may subscribe to the table the plain way."""
    tables = await operator.rows(
        "select schemaname, tablename from pg_publication_tables where pubname = %s",
        "supabase_realtime",
    )
    assert {"schemaname": "public", "tablename": "segmentation_results"} in tables


async def may_hear(caller: Any, topic: str) -> bool:
    """Whether *caller* may join *topic*, asked as Realtime asks: by a probe that is undone."""
    async with caller.pool.connection() as connection, connection.transaction(force_rollback=True):
        await connection.execute(
            "insert into realtime.messages (topic, extension, private)"
            " values (%s, 'broadcast', true)",
            [topic],
        )
        await _become(connection, caller, topic)
        rows = await connection.execute("select 1 from realtime.messages")
        return await rows.fetchone() is not None


async def may_send(caller: Any, topic: str, event: str | None = None) -> bool:
    """Whether *caller* may speak on *topic*."""
    async with caller.pool.connection() as connection, connection.transaction(force_rollback=True):
        await _become(connection, caller, topic)
        try:
            await connection.execute(
                "insert into realtime.messages (topic, extension, event)"
                " values (%s, 'broadcast', %s)",
                [topic, event],
            )
        except psycopg.errors.InsufficientPrivilege:
            return False
        return True


async def _become(connection: Any, caller: Any, topic: str) -> None:
    claims = {"role": caller.role, "sub": caller.id, "app_metadata": {"kind": caller.kind}}
    await connection.execute(
        "select set_config('realtime.topic', %s, true), set_config('role', %s, true),"
        " set_config('request.jwt.claims', %s, true)",
        [topic, caller.role, json.dumps(claims)],
    )


async def test_users_hear_their_own_topic_only(
    owner: Any, stranger: Any, machine: Any, nobody: Any
) -> None:
    """A user's topic is closed to everybody else, machines included."""
    topic = f"user:{owner.id}"
    assert await may_hear(owner, topic)
    assert await may_send(owner, topic)
    for other in (stranger, machine):
        assert not await may_hear(other, topic)
        assert not await may_send(other, topic)
    assert not await may_send(owner, "somewhere:else")


async def test_only_enabled_machines_hear_the_workers_topics(
    owner: Any, machine: Any, service: Any
) -> None:
    """The topic that wakes workers is closed to users and to disabled machines."""
    assert await may_hear(machine, "workers:image")
    assert await may_send(machine, "workers:image")
    assert not await may_hear(owner, "workers:image")
    await service.call("set_machine_enabled", p_id=machine.id, p_enabled=False)
    assert not await may_hear(machine, "workers:image")
    assert not await may_send(machine, "workers:image")


async def test_only_canaries_are_sent_by_hand(machine: Any) -> None:
    """Where the server shows the event to the policy, a machine cannot forge hints."""
    assert await may_send(machine, "workers:image", "canary")
    assert not await may_send(machine, "workers:image", "task_pending")
