"""`s3 webhooks`: have events sent to an address, and see what was sent."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Annotated, TypeVar
from uuid import UUID

import typer
from pydantic import BaseModel
from rich.markup import escape
from rich.table import Table

from s3_sam3 import S3Client
from s3_sam3.cli import config, show
from s3_sam3.contracts import limits, webhooks
from s3_sam3.contracts.webhooks import DEFAULT_EVENTS, DeliveryStatus, WebhookEvent


app = typer.Typer(help="Have events of your tasks sent to an https address.", no_args_is_help=True)

Which = Annotated[UUID, typer.Argument(help="A webhook, as `s3 webhooks list` names it.")]
Answer = TypeVar("Answer", bound=BaseModel)


@app.command("list")
def list_all(as_json: show.AsJson = False) -> None:
    """List your webhooks."""
    found = _call(lambda s3: s3.webhooks.list())
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
    made = _call(lambda s3: s3.webhooks.create(url, events, description=description))
    if as_json:
        show.as_json(made)
        return
    show.out.print(f"id      {made.id}\nsecret  {made.secret}", soft_wrap=True, highlight=False)
    show.err.print("Keep the secret: it is not shown again. It verifies webhook-signature.")


@app.command()
def remove(webhook_id: Which) -> None:
    """Remove a webhook; its pending deliveries are not sent."""
    _call(lambda s3: s3.webhooks.delete(webhook_id))


@app.command("test")
def try_out(webhook_id: Which, as_json: show.AsJson = False) -> None:
    """Send the event webhook.test."""
    queued = _call(lambda s3: s3.webhooks.test(webhook_id))
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
    page = _call(
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
    queued = _call(lambda s3: s3.webhooks.redeliver(webhook_id, delivery_id))
    if as_json:
        show.as_json(queued)
    else:
        show.out.print(queued.delivery_id)


def _call(call: Callable[[S3Client], Awaitable[Answer]]) -> Answer:
    async def called() -> Answer:
        async with config.client() as s3:
            return await call(s3)

    return asyncio.run(called())


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
