"""`s3 listen`: what changed, and how it is posted."""

import asyncio
import contextlib
import subprocess
import sys
import uuid
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import httpx
import pytest
from failing_receiver import SECRET, Receiver, receiving

from s3_sam3 import Unreachable, listening, recordings
from s3_sam3.contracts import bodies, webhooks
from s3_sam3.contracts.prompts import SegmentOptions
from s3_sam3.contracts.tasks import TaskStatus


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
        """Change a row, and notify."""
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
    """The next rows that changed."""
    found = []
    async with asyncio.timeout(20), contextlib.aclosing(listening.changes(s3)) as rows:  # type: ignore[arg-type]  # a fake of what it uses
        async for each in rows:
            found.append(each)
            if len(found) == count:
                break
    return found


async def test_what_ended_before_is_not_told() -> None:
    """Only what changes from now on."""
    old, task = row(TaskStatus.DONE), row(TaskStatus.PENDING)
    s3 = FakeClient(old, task)
    hearing = asyncio.create_task(events(s3, 1))
    await asyncio.sleep(0)
    s3.put(row(TaskStatus.DONE, task.task_id))

    assert [each.task_id for each in await hearing] == [task.task_id]


async def test_what_ended_during_an_outage_comes_after_it() -> None:
    """Also a task that has left the newest page meanwhile; oldest ending first."""
    first, second = row(TaskStatus.PROCESSING), row(TaskStatus.PENDING)
    s3 = FakeClient(first, second)
    hearing = asyncio.create_task(events(s3, 2))
    await asyncio.sleep(0)
    s3.away = 1
    s3.newest = []
    s3.put(row(TaskStatus.FAILED, first.task_id))
    s3.put(row(TaskStatus.DONE, second.task_id, finished_at=NOW - timedelta(seconds=5)))

    assert [each.task_id for each in await hearing] == [second.task_id, first.task_id]


def test_the_body_is_the_webhooks() -> None:
    """It reads as contracts.webhooks.TaskEvent; the same event has the same id."""
    done = row(TaskStatus.DONE, instance_count=3, credits_charged=2)
    message = listening.message_of(webhooks.WebhookEvent.TASK_DONE, done)

    event = webhooks.TaskEvent.model_validate_json(message.body)
    assert (event.data.task_id, event.data.instance_count) == (done.task_id, 3)
    assert listening.message_of(webhooks.WebhookEvent.TASK_DONE, done).id == message.id
    assert listening.event_of(row(TaskStatus.PENDING)) is None


async def test_each_post_is_signed_and_recorded(tmp_path: Path) -> None:
    """The handler verifies each; what failed is in the recording for `s3 replay`."""
    log = tmp_path / "log.ndjson"
    messages = [
        listening.message_of(webhooks.WebhookEvent.TASK_DONE, row(TaskStatus.DONE))
        for _ in range(3)
    ]
    receiver = Receiver(fail=lambda n: n == 2)
    async with receiving(receiver), httpx.AsyncClient() as http:
        with recordings.Recording(log) as file:
            poster = listening.Poster(http, httpx.URL(receiver.url), receiver.secret, file)
            attempts = [await poster.post(each) for each in messages]

    assert receiver.refused == []
    assert [body for _, body in receiver.requests] == [each.body for each in messages]
    assert [attempt.status for attempt in attempts] == [200, 500, 200]
    assert [each.state for each in recordings.read(log)] == ["ok", "failed", "ok"]


async def test_a_handler_that_is_not_there_is_an_attempt_without_status() -> None:
    """The events go on."""
    message = listening.message_of(webhooks.WebhookEvent.TASK_DONE, row(TaskStatus.DONE))
    async with httpx.AsyncClient() as http:
        url = httpx.URL("http://127.0.0.1:9/hook")
        attempt = await listening.Poster(http, url, SECRET, None).post(message)

    assert (attempt.status, attempt.error) == (None, "ConnectError")


@pytest.mark.parametrize(
    "url",
    ["https://example.com/hook", "http://10.0.0.1/", "ftp://localhost/", "http://a:b@localhost/"],
)
def test_events_are_posted_to_this_machine_only(url: str) -> None:
    """Another host, scheme or password is refused; control: this machine and a named host."""
    with pytest.raises(listening.ForwardRefused):
        listening.checked_url(url, ["example.org"])

    for allowed in ("http://localhost:3000/", "http://[::1]/", "https://EXAMPLE.org/hook"):
        listening.checked_url(allowed, ["example.org"])


@pytest.mark.parametrize(
    "given",
    [
        ("--forward-to", "https://example.com/hook"),
        ("--forward-to", "http://localhost/", "--secret", "hush"),
        ("--forward-to", "http://localhost/", "--record", "."),
    ],
)
def test_what_cannot_be_done_is_a_usage_error(given: tuple[str, ...]) -> None:
    """Exit 2, before anything is listened to."""
    ended = subprocess.run(
        [sys.executable, "-m", "s3_sam3.cli", "listen", *given], capture_output=True, check=False
    )

    assert ended.returncode == 2
