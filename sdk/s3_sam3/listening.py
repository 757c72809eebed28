"""
A user's own task events, posted to this machine as signed webhooks, without a public address.

Realtime says when to look, the API says what changed. Each event is posted once, in order; what
failed is in the recording, for `s3 replay --mode recover`.
"""

import asyncio
import contextlib
import dataclasses
import hashlib
import time
import uuid
from collections.abc import AsyncGenerator, Callable, Collection
from datetime import UTC, datetime
from typing import Final
from uuid import UUID

import httpx

from s3_sam3 import signatures
from s3_sam3.client import POLL_DEAF_SECONDS, POLL_LIVE_SECONDS, S3Client
from s3_sam3.contracts import bodies, limits, webhooks
from s3_sam3.contracts.tasks import FINAL_STATUSES, TaskStatus
from s3_sam3.errors import ApiError, S3Error, Unreachable
from s3_sam3.messages import Attempt, Message, is_named, is_this_machine
from s3_sam3.recordings import Recording


TIMEOUT_SECONDS: Final = 15.0
ANSWER_BYTES: Final = 16 * 1024
"""How much of an answer's body is kept."""

_Seen = tuple[TaskStatus, float]
"""A task's status and progress."""


class ForwardRefused(S3Error):
    """The URL is not http(s), or its host is not this machine and was not allowed."""


def checked_url(url: str, allowed: Collection[str]) -> httpx.URL:
    """*url*, if its host is this machine or one of *allowed*. Raises: ForwardRefused."""
    try:
        target = httpx.URL(url)
    except httpx.InvalidURL:
        target = httpx.URL()
    if target.scheme not in {"http", "https"} or not target.host or target.userinfo:
        msg = f"{url!r} is not an http(s) URL without user and password."
        raise ForwardRefused(msg)
    if is_this_machine(target.host) or is_named(target.host, allowed):
        return target
    msg = f"{target.host} is not this machine. To allow it: --target-allow {target.host}."
    raise ForwardRefused(msg)


async def changes(
    s3: S3Client, note: Callable[[str], None] = lambda _: None
) -> AsyncGenerator[bodies.Result]:
    """
    Each task when it changes, from now on; what changed during an outage comes after it.

    Looks at the newest page of results and at every task that it saw unfinished. *note* is told
    when listening begins, and of each outage. Raises: ApiError, one that a retry cannot help.
    """
    known: dict[UUID, _Seen] | None = None
    with s3.notices.of(None) as woken:
        while True:
            woken.clear()
            try:
                rows = await _look(s3, known or {})
            except (Unreachable, ApiError) as error:
                if isinstance(error, ApiError) and not error.retryable:
                    raise
                note(str(error))
                await asyncio.sleep(POLL_DEAF_SECONDS)
                continue
            if known is None:
                known = {row.task_id: _seen(row) for row in rows}
                note("Listening for your tasks.")
            for row in rows:
                if known.get(row.task_id) != _seen(row):
                    known[row.task_id] = _seen(row)
                    yield row
            live = s3.notices.live.is_set()
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(POLL_LIVE_SECONDS if live else POLL_DEAF_SECONDS):
                    await woken.wait()


async def _look(s3: S3Client, known: dict[UUID, _Seen]) -> list[bodies.Result]:
    """The task that ended first comes first."""
    rows = list((await s3.results(limit=limits.MAX_PAGE_SIZE)).items)
    on_page = {row.task_id for row in rows}
    for task_id, (status, _) in known.items():
        if status not in FINAL_STATUSES and task_id not in on_page:
            with contextlib.suppress(ApiError):  # deleted meanwhile
                rows.append(await s3.result(task_id))
    return sorted(rows, key=lambda row: row.finished_at or datetime.now(UTC))


def _seen(row: bodies.Result) -> _Seen:
    return (row.status, row.progress)


def event_of(row: bodies.Result) -> webhooks.WebhookEvent | None:
    """The event that a task in this state causes; None: a pending one causes none."""
    if row.status is TaskStatus.PENDING:
        return None
    if row.status is TaskStatus.PROCESSING:
        return webhooks.WebhookEvent.TASK_PROGRESS
    return webhooks.WebhookEvent(f"task.{row.status}")


def message_of(event: webhooks.WebhookEvent, row: bodies.Result) -> Message:
    """The webhook about *row*; the same event always has the same id."""
    body = webhooks.TaskEvent(
        type=event,
        timestamp=row.finished_at or datetime.now(UTC),
        data=webhooks.TaskEventData.model_validate(row.model_dump()),
    )
    digest = hashlib.sha256(f"{row.task_id}/{event}/{row.progress}".encode()).hexdigest()
    return Message(
        id=f"msg_{digest[:32]}",
        type=event,
        key=str(row.task_id),
        body=body.model_dump_json().encode(),
        created_at=datetime.now(UTC),
    )


class Poster:
    """Signs messages, posts them to one URL, and records them if there is a recording."""

    def __init__(
        self, http: httpx.AsyncClient, url: httpx.URL, secret: str, recording: Recording | None
    ) -> None:
        self._http = http
        self._url = url
        self._secret = secret
        self._recording = recording

    async def post(self, message: Message) -> Attempt:
        """Post once; a network failure is an attempt without a status."""
        headers = {
            "content-type": "application/json",
            "user-agent": "s3-listen",
            **signatures.signed_headers(
                [self._secret], message.id, int(message.created_at.timestamp()), message.body
            ),
        }
        attempt = await self._attempt(headers, message.body)
        if self._recording is not None:
            sent = dataclasses.replace(
                message, url=str(self._url), headers=tuple(headers.items()), last=attempt
            )
            path = self._url.raw_path.decode()
            self._recording.request(uuid.uuid4().hex, sent, path=path)
        return attempt

    async def _attempt(self, headers: dict[str, str], body: bytes) -> Attempt:
        begun = time.monotonic()

        def latency_ms() -> int:
            return round((time.monotonic() - begun) * 1000)

        answer = b""
        try:
            async with (
                asyncio.timeout(TIMEOUT_SECONDS),
                self._http.stream("POST", self._url, content=body, headers=headers) as response,
            ):
                async for piece in response.aiter_raw():
                    answer += piece
                    if len(answer) >= ANSWER_BYTES:
                        break
        except (httpx.HTTPError, TimeoutError) as error:
            return Attempt(status=None, latency_ms=latency_ms(), error=type(error).__name__)
        return Attempt(
            status=response.status_code, latency_ms=latency_ms(), answer=answer[:ANSWER_BYTES]
        )
