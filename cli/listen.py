"""
`s3 listen`: your own tasks' events, posted to this machine as webhooks, without a public address.

Realtime says when to look, the API says what moved, and `python -m webhooks.replay relay` signs
and posts.
"""

import asyncio
import contextlib
import hashlib
import json
import sys
from collections.abc import AsyncGenerator, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated
from uuid import UUID

import typer

from s3_sam3 import ApiError, S3Client, Unreachable
from s3_sam3.cli import config, show
from s3_sam3.client import POLL_DEAF_SECONDS, POLL_LIVE_SECONDS
from s3_sam3.contracts import bodies, limits, webhooks
from s3_sam3.contracts.tasks import FINAL_STATUSES, TaskStatus


def listen(
    forward_to: Annotated[str, typer.Option(metavar="URL", help="Where your handler listens.")],
    events: Annotated[
        list[webhooks.WebhookEvent] | None,
        typer.Option(help="Repeatable; default: the three endings."),
    ] = None,
    record: Annotated[
        Path | None, typer.Option(help="Add what was posted to this file, for `s3 replay`.")
    ] = None,
    target_allow: Annotated[
        list[str] | None, typer.Option(metavar="HOST", help="Not this machine, and meant.")
    ] = None,
) -> None:
    """Post your tasks' events to URL as they happen, signed with the secret it prints."""
    arguments = ["relay", "--forward-to", forward_to]
    arguments += ["--record", str(record)] if record else []
    for host in target_allow or ():
        arguments += ["--target-allow", host]
    raise SystemExit(asyncio.run(_listen(arguments, events or webhooks.DEFAULT_EVENTS)))


async def _listen(arguments: Sequence[str], events: Sequence[webhooks.WebhookEvent]) -> int:
    async with config.client() as s3:
        relay = await asyncio.create_subprocess_exec(
            sys.executable, "-m", "webhooks.replay", *arguments, stdin=asyncio.subprocess.PIPE
        )
        posting = asyncio.create_task(_pipe(s3, relay, events))
        ended = asyncio.create_task(relay.wait())
        try:
            await asyncio.wait({posting, ended}, return_when=asyncio.FIRST_COMPLETED)
            if posting.done():
                await posting
            return await ended
        finally:
            posting.cancel()
            await asyncio.gather(posting, return_exceptions=True)
            with contextlib.suppress(ProcessLookupError):
                relay.terminate()
            await ended


async def _pipe(
    s3: S3Client, relay: asyncio.subprocess.Process, events: Sequence[webhooks.WebhookEvent]
) -> None:
    if relay.stdin is None:
        return
    async with contextlib.aclosing(moved(s3)) as rows:
        async for row in rows:
            event = event_of(row)
            if event is None or event not in events:
                continue
            relay.stdin.write(json.dumps(line(event, row)).encode() + b"\n")
            # The relay may have ended, which its exit code explains better.
            with contextlib.suppress(ConnectionError):
                await relay.stdin.drain()


async def moved(s3: S3Client) -> AsyncGenerator[bodies.Result]:
    """
    Each task when it moved, from now on; what ended during an outage comes after it.

    Looks at the newest page and at every task that it saw unfinished.
    """
    known: dict[UUID, tuple[str, float]] | None = None
    with s3.notices.of(None) as woken:
        while True:
            woken.clear()
            try:
                rows = await _look(s3, known or {})
            except (Unreachable, ApiError) as error:
                if isinstance(error, ApiError) and not error.retryable:
                    raise
                show.err.print(f"[yellow]{error}[/]", highlight=False)
                await asyncio.sleep(POLL_DEAF_SECONDS)
                continue
            if known is None:
                known = {row.task_id: _place(row) for row in rows}
                show.err.print("Listening for your tasks.")
            for row in rows:
                if known.get(row.task_id) != _place(row):
                    known[row.task_id] = _place(row)
                    yield row
            live = s3.notices.live.is_set()
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(POLL_LIVE_SECONDS if live else POLL_DEAF_SECONDS):
                    await woken.wait()


async def _look(s3: S3Client, known: dict[UUID, tuple[str, float]]) -> list[bodies.Result]:
    """Oldest ending first."""
    rows = list((await s3.results(limit=limits.MAX_PAGE_SIZE)).items)
    seen = {row.task_id for row in rows}
    for task_id, (status, _) in known.items():
        if status not in FINAL_STATUSES and task_id not in seen:
            with contextlib.suppress(ApiError):  # deleted meanwhile
                rows.append(await s3.result(task_id))
    return sorted(rows, key=lambda row: row.finished_at or datetime.now(UTC))


def event_of(row: bodies.Result) -> webhooks.WebhookEvent | None:
    """The event that a row in this state is; None: a pending one is none."""
    if row.status is TaskStatus.PENDING:
        return None
    if row.status is TaskStatus.PROCESSING:
        return webhooks.WebhookEvent.TASK_PROGRESS
    return webhooks.WebhookEvent(f"task.{row.status}")


def line(event: webhooks.WebhookEvent, row: bodies.Result) -> dict[str, str]:
    """What the relay reads: the id is made of the event, so the same one has it twice."""
    told = webhooks.TaskEvent(
        type=event,
        timestamp=row.finished_at or datetime.now(UTC),
        data=webhooks.TaskEventData.model_validate(row.model_dump()),
    )
    made = hashlib.sha256(f"{row.task_id}/{event}/{row.progress}".encode()).hexdigest()
    return {"id": f"msg_{made[:32]}", "type": event, "body": told.model_dump_json()}


def _place(row: bodies.Result) -> tuple[str, float]:
    return (row.status, row.progress)
