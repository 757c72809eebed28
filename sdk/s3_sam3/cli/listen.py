"""`s3 listen`: your tasks' events as webhooks, posted to this machine."""

import asyncio
import contextlib
from collections.abc import Collection
from pathlib import Path
from typing import Annotated

import httpx
import typer

from s3_sam3 import listening, signatures
from s3_sam3.cli import config, show
from s3_sam3.contracts import webhooks
from s3_sam3.recordings import RecordingError
from s3_sam3.recordings.recording import Recording


def listen(
    forward_to: Annotated[str, typer.Option(metavar="URL", help="Where your handler listens.")],
    events: Annotated[
        list[webhooks.WebhookEvent] | None,
        typer.Option(help="Repeatable; default: task.done, task.failed, task.cancelled."),
    ] = None,
    record: Annotated[
        Path | None, typer.Option(help="Add what was posted to this file, for `s3 replay`.")
    ] = None,
    target_allow: Annotated[
        list[str] | None,
        typer.Option(metavar="HOST", help="Allow a host that is not this machine; repeatable."),
    ] = None,
    secret: Annotated[
        str | None,
        typer.Option(envvar="REPLAY_SECRET", help="whsec_… to sign with; default: a new one."),
    ] = None,
) -> None:
    """Post your tasks' events to URL as they happen, signed with the secret it prints."""
    try:
        url = listening.checked_url(forward_to, target_allow or ())
        secret = signatures.check_secret(secret or signatures.new_secret())
        recording = Recording(record) if record else None
    except (listening.ForwardRefused, signatures.BadSecret, RecordingError) as error:
        raise typer.BadParameter(str(error)) from error
    show.err.print(f"Signing with {secret}", soft_wrap=True, highlight=False)
    with recording or contextlib.nullcontext():
        asyncio.run(_listen(url, secret, recording, events or webhooks.DEFAULT_EVENTS))


async def _listen(
    url: httpx.URL,
    secret: str,
    recording: Recording | None,
    events: Collection[webhooks.WebhookEvent],
) -> None:
    async with config.client() as s3, httpx.AsyncClient(trust_env=False) as http:
        poster = listening.Poster(http, url, secret, recording)
        async with contextlib.aclosing(listening.changes(s3, _note)) as rows:
            async for row in rows:
                event = listening.event_of(row)
                if event is None or event not in events:
                    continue
                message = listening.message_of(event, row)
                attempt = await poster.post(message)
                print(
                    f"{attempt.summary:>4} {attempt.latency_ms:>5} ms  {message.id}"
                    f"  {message.type}  {message.key}",
                    flush=True,
                )


def _note(text: str) -> None:
    show.err.print(text, highlight=False)
