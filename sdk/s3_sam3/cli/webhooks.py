"""`s3 webhooks` and `s3 listen`: events of your tasks, sent to an address or to this machine."""

import asyncio
import contextlib
from collections.abc import Collection
from pathlib import Path
from typing import Annotated
from uuid import UUID

import httpx
import typer
from rich.markup import escape
from rich.table import Table

from s3_sam3 import listening, signatures
from s3_sam3.cli import config, show
from s3_sam3.contracts import limits, webhooks
from s3_sam3.contracts.webhooks import DEFAULT_EVENTS, DeliveryStatus, WebhookEvent
from s3_sam3.recordings import Recording, RecordingError


app = typer.Typer(help="Have events of your tasks sent to an https address.", no_args_is_help=True)

Which = Annotated[UUID, typer.Argument(help="A webhook, as `s3 webhooks list` names it.")]


@app.command("list")
def list_all(as_json: show.AsJson = False) -> None:
    """List your webhooks."""
    found = config.call(lambda s3: s3.webhooks.list())
    if as_json:
        show.as_json(found)
    else:
        show.out.print(_webhooks(found.items))


@app.command()
def add(
    url: Annotated[str, typer.Argument(help="https://…")],
    event: Annotated[
        list[WebhookEvent] | None,
        typer.Option(help="Repeatable; without it each end of a task."),
    ] = None,
    description: Annotated[str | None, typer.Option(help="For yourself.")] = None,
    as_json: show.AsJson = False,
) -> None:
    """Add a webhook. Its secret is printed only now."""
    events = tuple(event or DEFAULT_EVENTS)
    made = config.call(lambda s3: s3.webhooks.create(url, events, description=description))
    if as_json:
        show.as_json(made)
        return
    show.out.print(f"id      {made.id}\nsecret  {made.secret}", soft_wrap=True, highlight=False)
    show.err.print("Keep the secret: it is not shown again. It verifies webhook-signature.")


@app.command()
def remove(webhook_id: Which) -> None:
    """Remove a webhook; its pending deliveries are not sent."""
    config.call(lambda s3: s3.webhooks.delete(webhook_id))


@app.command("test")
def try_out(webhook_id: Which, as_json: show.AsJson = False) -> None:
    """Send the event webhook.test."""
    queued = config.call(lambda s3: s3.webhooks.test(webhook_id))
    if as_json:
        show.as_json(queued)
        return
    show.out.print(queued.delivery_id)
    show.err.print(f"Its result: s3 webhooks deliveries {webhook_id}", soft_wrap=True)


@app.command()
def deliveries(
    webhook_id: Which,
    limit: Annotated[int, typer.Option(min=1, max=limits.MAX_PAGE_SIZE)] = 20,
    status: Annotated[
        DeliveryStatus | None, typer.Option(help="Only deliveries with this status.")
    ] = None,
    cursor: Annotated[str | None, typer.Option(help="Of the next page, as printed.")] = None,
    as_json: show.AsJson = False,
) -> None:
    """List deliveries to a webhook, newest first, with the last answer."""
    page = config.call(
        lambda s3: s3.webhooks.deliveries(webhook_id, limit=limit, status=status, cursor=cursor)
    )
    if as_json:
        show.as_json(page)
        return
    show.out.print(_deliveries(page.items))
    if page.next_cursor:
        more = f"More: s3 webhooks deliveries {webhook_id} --cursor {page.next_cursor}"
        show.err.print(more, soft_wrap=True)


@app.command()
def redeliver(
    webhook_id: Which,
    delivery_id: Annotated[str, typer.Argument(help="msg_…")],
    as_json: show.AsJson = False,
) -> None:
    """Send a delivery again, with the same id and body."""
    queued = config.call(lambda s3: s3.webhooks.redeliver(webhook_id, delivery_id))
    if as_json:
        show.as_json(queued)
    else:
        show.out.print(queued.delivery_id)


def _webhooks(items: tuple[webhooks.Webhook, ...]) -> Table:
    table = Table()
    for column in ("id", "url", "events", "state", "age"):
        table.add_column(column, no_wrap=column == "id")
    for item in items:
        events = ", ".join(item.events)
        table.add_row(
            str(item.id), escape(item.url), events, _state(item), show.age(item.created_at)
        )
    return table


def _state(webhook: webhooks.Webhook) -> str:
    if not webhook.enabled:
        return f"off ({webhook.disabled_reason or 'owner'})"
    return f"on, {webhook.failures} failures" if webhook.failures else "on"


def _deliveries(items: tuple[webhooks.Delivery, ...]) -> Table:
    table = Table()
    for column in ("id", "event", "status", "attempts", "last answer", "age"):
        table.add_column(column, no_wrap=column == "id")
    for item in items:
        last = item.attempts[0] if item.attempts else None
        table.add_row(
            item.id,
            item.event,
            item.status,
            str(item.attempt_count),
            "" if last is None else escape(_answer(last)),
            show.age(item.created_at),
        )
    return table


def _answer(attempt: webhooks.DeliveryAttempt) -> str:
    if attempt.status_code is None:
        return f"none: {attempt.error or 'no reason given'}"
    return f"{attempt.status_code} in {attempt.latency_ms} ms"


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
