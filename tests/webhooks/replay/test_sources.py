"""What is read from the database: the outbox and the rows."""

import json
import uuid
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from failing_receiver import SECRET, Receiver, Replay, message

from adapters.rest import Rest
from devstack.testing import Stack
from webhooks.replay import UsageError, database
from webhooks.replay.selection import Mode, Selection


@pytest.fixture
async def rest(stack: Stack) -> AsyncIterator[Rest]:
    """REST with the service key."""
    async with Rest(url=stack.url, key=stack.service_key) as opened:
        yield opened


@pytest.fixture
async def delivery(
    db: Any, new_user: Callable[..., Awaitable[Any]]
) -> AsyncIterator[Callable[..., Awaitable[str]]]:
    """Write a delivery with attempts of these status codes, oldest first; answers its id."""
    user = await new_user()
    made = await db.execute(
        "insert into public.webhook_endpoints (user_id, url, events)"
        " values (%s, 'http://127.0.0.1:9/hook', '{task.done}') returning id",
        (user.id,),
    )
    (endpoint,) = await made.fetchone()

    async def write(*codes: int | None, age: timedelta = timedelta(0), **row: Any) -> str:
        """One delivery."""
        message_id = f"msg_{uuid.uuid4().hex}"
        await db.execute(
            "insert into public.webhook_deliveries"
            " (id, endpoint_id, user_id, event, task_id, body, created_at)"
            " values (%s, %s, %s, %s, %s, '{\"a\":  1}', now() - %s)",
            (message_id, endpoint, user.id, row.get("event", "task.done"), row.get("task"), age),
        )
        for code in codes:
            await db.execute(
                "insert into public.webhook_attempts"
                " (delivery_id, user_id, status_code, latency_ms) values (%s, %s, %s, 7)",
                (message_id, user.id, code),
            )
        return message_id

    yield write
    await db.execute("delete from public.webhook_endpoints where id = %s", (endpoint,))


async def ids(rest: Rest, selection: Selection) -> list[str]:
    """Ids of the outbox that are meant."""
    return [each.id for each in selection.of(await database.read_outbox(rest, selection))]


async def test_the_last_attempt_counts(rest: Rest, delivery: Callable[..., Awaitable[str]]) -> None:
    """Delivered at last is no failure, and a redelivery that failed is one."""
    healed = await delivery(500, None, 200)
    broken = await delivery(200, 500)
    deaf = await delivery(None)
    never = await delivery()
    made = (healed, broken, deaf, never)

    assert set(await ids(rest, Selection(mode=Mode.RECOVER, ids=made))) == {broken, deaf}
    assert await ids(rest, Selection(mode=Mode.MISSING, ids=made)) == [never]
    assert await ids(rest, Selection(code="2xx", ids=made)) == [healed]


async def test_the_outbox_is_selected_by_time_task_and_type(
    rest: Rest, delivery: Callable[..., Awaitable[str]]
) -> None:
    """The database's filters mean what the tool's own do."""
    task = str(uuid.uuid4())
    old = await delivery(age=timedelta(days=2), task=task)
    new = await delivery(event="task.failed", task=task)
    other = await delivery(task=str(uuid.uuid4()))
    yesterday = datetime.now(UTC) - timedelta(days=1)

    assert await ids(rest, Selection(tasks=(task,))) == [old, new]
    assert await ids(rest, Selection(tasks=(task,), since=yesterday)) == [new]
    assert await ids(rest, Selection(tasks=(task,), until=yesterday)) == [old]
    assert await ids(rest, Selection(ids=(old, new, other), types=("*.failed",))) == [new]


async def test_a_message_is_its_exact_text(
    rest: Rest, delivery: Callable[..., Awaitable[str]]
) -> None:
    """Body, address, endpoint and key as the dispatcher has them."""
    made = await delivery(503, task=(task := str(uuid.uuid4())))

    (found,) = await database.read_outbox(rest, Selection(ids=(made,)))

    assert (found.body, found.key, found.url) == (b'{"a":  1}', task, "http://127.0.0.1:9/hook")
    assert found.last is not None
    assert (found.last.status, found.last.latency_ms) == (503, 7)
    assert len(await database.secrets_of(rest, str(found.endpoint_id))) == 0


async def test_more_deliveries_than_a_page_are_all_read(
    rest: Rest, db: Any, delivery: Callable[..., Awaitable[str]]
) -> None:
    """Rows of one transaction, which share their time, are neither lost nor doubled."""
    one = await delivery(task=(task := str(uuid.uuid4())))
    await db.execute(
        "insert into public.webhook_deliveries (endpoint_id, user_id, event, task_id, body)"
        " select endpoint_id, user_id, event, task_id, body from public.webhook_deliveries,"
        " generate_series(1, 1200) where id = %s",
        (one,),
    )

    found = await ids(rest, Selection(tasks=(task,)))

    assert len(found) == len(set(found)) == 1201


@dataclass(frozen=True, slots=True, kw_only=True)
class Task:
    """A task and its owner's token."""

    id: str
    token: str


@pytest.fixture
async def task(rest: Rest, new_user: Callable[..., Awaitable[Any]]) -> Task:
    """A pending task of a new user."""
    return await submitted(rest, await new_user())


async def submitted(rest: Rest, user: Any) -> Task:
    """A task that *user* submitted."""
    answer = await rest.rpc(
        "submit_task",
        {
            "p_source_image_url": f"uploads/{user.id}/{'0' * 64}.png",
            "p_prompts": [{"text": "dog"}],
            "p_options": {},
        },
        user.access_token,
    )
    return Task(id=answer["task"]["id"], token=user.access_token)


async def test_rows_become_supabases_own_webhooks(
    replay: Replay, receiver: Receiver, stack: Stack, task: Task
) -> None:
    """The five fields, the row as record, and the same id while the row does not change."""
    arguments = ("--from", "rows", "--task", task.id, "--target", receiver.url, "--yes")

    for _ in range(2):
        await replay(*arguments, **stack.env, REPLAY_SECRET=SECRET)

    headers, body = receiver.requests[0]
    document = json.loads(body)
    assert list(document) == ["type", "table", "schema", "record", "old_record"]
    assert (document["type"], document["record"]["id"]) == ("INSERT", task.id)
    assert document["old_record"] is None
    assert headers["webhook-id"] == receiver.requests[1][0]["webhook-id"]


async def test_a_row_that_moved_is_another_message(rest: Rest, task: Task) -> None:
    """Negative control of the stable id: a change makes another one, of type UPDATE."""
    (before,) = await database.read_rows(rest, Selection(tasks=(task.id,)))
    await rest.rpc("cancel_task", {"p_id": task.id}, task.token)
    (after,) = await database.read_rows(rest, Selection(tasks=(task.id,)))

    assert before.id != after.id
    assert (before.type, after.type) == ("INSERT", "UPDATE")


async def test_rows_are_read_by_their_messages_ids(
    rest: Rest, task: Task, new_user: Callable[..., Awaitable[Any]]
) -> None:
    """A resumed run asks for its own rows, not for the table; control: without ids, for all."""
    await submitted(rest, await new_user())
    everything = await database.read_rows(rest, Selection())
    (mine,) = await database.read_rows(rest, Selection(tasks=(task.id,)))

    assert await database.read_rows(rest, Selection(ids=(mine.id,))) == [mine]
    assert await database.read_rows(rest, Selection(ids=("row_none_1",))) == []
    assert len(everything) > 1


async def test_without_the_service_key_the_outbox_is_a_fault_of_configuration(
    replay: Replay, stack: Stack
) -> None:
    """Exit 78, and the sentence names the variable."""
    ran = await replay("--from", "outbox", SUPABASE_URL=stack.url, SUPABASE_SERVICE_KEY="")

    assert ran.code == 78
    assert "SUPABASE_SERVICE_KEY" in ran.err


@pytest.mark.parametrize("read", [database.read_outbox, database.read_rows])
async def test_a_task_that_has_no_id_is_a_usage_error(rest: Rest, read: Any) -> None:
    """The database would refuse it."""
    with pytest.raises(UsageError, match="'abc' is no id of a task"):
        await read(rest, Selection(tasks=("abc",)))


def test_a_recording_may_know_tasks_by_other_names() -> None:
    """Control: the filter itself takes any text."""
    assert Selection(tasks=("abc",)).of([message(key="abc"), message()]) != []
