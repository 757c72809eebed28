"""`s3 listen`, in its two halves: what moved, and how it is posted."""

import asyncio
import contextlib
import json
import re
import uuid
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from failing_receiver import Receiver, Start

from cli import listen
from s3_sam3 import Unreachable
from s3_sam3.contracts import bodies, webhooks
from s3_sam3.contracts.prompts import SegmentOptions
from s3_sam3.contracts.tasks import TaskStatus
from webhooks.replay import recording


NOW = datetime.now(UTC)


def row(status: TaskStatus, task_id: uuid.UUID | None = None, **changes: Any) -> bodies.Result:
    """A result as the API shows it."""
    final = status not in {TaskStatus.PENDING, TaskStatus.PROCESSING}
    fields: dict[str, Any] = {
        "task_id": task_id or uuid.uuid4(),
        "status": status,
        "progress": 1.0 if final else 0.0,
        "credits": 1,
        "attempt_count": 1,
        "created_at": NOW,
        "finished_at": NOW if final else None,
        "image_url": "uploads/x.png",
        "prompts": (),
        "options": SegmentOptions(),
    }
    return bodies.Result(**{**fields, **changes})


class FakeNotices:
    """A topic whose notices the test sends."""

    def __init__(self) -> None:
        self.live = asyncio.Event()
        self.live.set()
        self.woken = asyncio.Event()

    @contextlib.contextmanager
    def of(self, task_id: uuid.UUID | None) -> Iterator[asyncio.Event]:
        """Of any task."""
        assert task_id is None
        yield self.woken


class FakeClient:
    """A service with these rows, that may be away."""

    def __init__(self, *rows: bodies.Result) -> None:
        self.notices = FakeNotices()
        self.rows = {each.task_id: each for each in rows}
        self.newest: list[uuid.UUID] | None = None
        self.away = 0

    def put(self, each: bodies.Result) -> None:
        """Move a row, and tell."""
        self.rows[each.task_id] = each
        self.notices.woken.set()

    async def results(self, limit: int) -> bodies.ResultPage:
        """The newest page."""
        if self.away:
            self.away -= 1
            self.notices.woken.set()
            raise Unreachable("http://nowhere", "away")
        shown = self.rows if self.newest is None else self.newest
        return bodies.ResultPage(items=tuple(self.rows[each] for each in shown), next_cursor=None)

    async def result(self, task_id: uuid.UUID) -> bodies.Result:
        """One row."""
        return self.rows[task_id]


async def events(s3: FakeClient, count: int) -> list[bodies.Result]:
    """The next rows that moved."""
    found = []
    async with asyncio.timeout(20), contextlib.aclosing(listen.moved(s3)) as rows:  # type: ignore[arg-type]  # a fake of what it uses
        async for each in rows:
            found.append(each)
            if len(found) == count:
                break
    return found


async def test_what_ended_before_is_not_told() -> None:
    """Only what moves from now on."""
    old, task = row(TaskStatus.DONE), row(TaskStatus.PENDING)
    s3 = FakeClient(old, task)
    listening = asyncio.create_task(events(s3, 1))
    await asyncio.sleep(0)
    s3.put(row(TaskStatus.DONE, task.task_id))

    assert [each.task_id for each in await listening] == [task.task_id]


async def test_what_ended_during_an_outage_comes_after_it() -> None:
    """Also a task that has left the newest page meanwhile; oldest ending first."""
    first, second = row(TaskStatus.PROCESSING), row(TaskStatus.PENDING)
    s3 = FakeClient(first, second)
    listening = asyncio.create_task(events(s3, 2))
    await asyncio.sleep(0)
    s3.away = 1
    s3.newest = []
    s3.put(row(TaskStatus.FAILED, first.task_id))
    s3.put(row(TaskStatus.DONE, second.task_id, finished_at=NOW - timedelta(seconds=5)))

    assert [each.task_id for each in await listening] == [second.task_id, first.task_id]


def test_the_body_is_the_webhooks() -> None:
    """It reads as contracts.webhooks.TaskEvent; the same event has the same id."""
    done = row(TaskStatus.DONE, instance_count=3, credits_charged=2)
    line = listen.line(webhooks.WebhookEvent.TASK_DONE, done)

    told = webhooks.TaskEvent.model_validate_json(line["body"])
    assert (told.data.task_id, told.data.instance_count) == (done.task_id, 3)
    assert listen.line(webhooks.WebhookEvent.TASK_DONE, done)["id"] == line["id"]
    assert listen.event_of(row(TaskStatus.PENDING)) is None


async def test_the_relay_signs_with_the_secret_it_prints(
    start: Start, receiver: Receiver, tmp_path: Path
) -> None:
    """The handler verifies each; what failed is in the recording for `s3 replay`."""
    receiver.fail = lambda n: n == 2
    log = tmp_path / "log.ndjson"
    relay = await start("relay", "--forward-to", receiver.url, "--record", str(log))
    assert relay.stderr is not None
    assert relay.stdin is not None
    found = re.search(rb"whsec_\S+", await relay.stderr.readline())
    assert found is not None
    receiver.secret = found[0].decode()
    lines = [listen.line(webhooks.WebhookEvent.TASK_DONE, row(TaskStatus.DONE)) for _ in range(3)]

    out, _ = await relay.communicate("".join(json.dumps(each) + "\n" for each in lines).encode())

    assert receiver.refused == []
    assert [body.decode() for _, body in receiver.requests] == [each["body"] for each in lines]
    assert [line.split()[0] for line in out.decode().splitlines()] == ["200", "500", "200"]
    assert [each.standing for each in recording.read(log)] == ["ok", "failed", "ok"]


async def test_the_relay_refuses_a_foreign_host(start: Start) -> None:
    """Exit 2, as `s3 replay`."""
    relay = await start("relay", "--forward-to", "https://example.com/hook")

    assert await relay.wait() == 2
