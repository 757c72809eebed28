"""`s3 webhooks`: be told of tasks at an address, and see what was sent there."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Annotated, TypeVar
from uuid import UUID

import typer
from pydantic import BaseModel
from rich.markup import escape
from rich.table import Table

from cli import config, show
from s3_sam3 import S3Client
from s3_sam3.contracts import limits, webhook_bodies
from s3_sam3.contracts.webhooks import DEFAULT_EVENTS, DeliveryStatus, WebhookEvent


app = typer.Typer(help="Be told of your tasks at an https address.", no_args_is_help=True)

AsJson = Annotated[bool, typer.Option("--json", help="Print JSON.")]
Which = Annotated[UUID, typer.Argument(help="A webhook, as `s3 webhooks list` names it.")]
Answer = TypeVar("Answer", bound=BaseModel)


@app.command("list")
def list_all(as_json: AsJson = False) -> None:
    """List your webhooks."""
    found = _ask(lambda s3: s3.webhooks.list())
    if as_json:
        show.as_json(found)
    else:
        show.out.print(_webhooks(found.items))


@app.command()
def add(
    url: Annotated[str, typer.Argument(help="https://…")],
    event: Annotated[
        list[WebhookEvent] | None,
        typer.Option(help="Once for each event; without it every end of a task."),
    ] = None,
    description: Annotated[str | None, typer.Option(help="For yourself.")] = None,
    as_json: AsJson = False,
) -> None:
    """Add a webhook. The secret is printed this once."""
    events = tuple(event or DEFAULT_EVENTS)
    made = _ask(lambda s3: s3.webhooks.create(url, events, description=description))
    if as_json:
        show.as_json(made)
        return
    show.out.print(f"id      {made.id}\nsecret  {made.secret}", soft_wrap=True, highlight=False)
    show.err.print("Keep the secret: it is not shown again. It verifies webhook-signature.")


@app.command()
def remove(webhook_id: Which) -> None:
    """Remove a webhook; what was on its way there is not sent."""
    _ask(lambda s3: s3.webhooks.delete(webhook_id))


@app.command("test")
def try_out(webhook_id: Which, as_json: AsJson = False) -> None:
    """Have the event webhook.test sent."""
    queued = _ask(lambda s3: s3.webhooks.test(webhook_id))
    if as_json:
        show.as_json(queued)
        return
    show.out.print(queued.delivery_id)
    show.err.print(f"How it went: s3 webhooks deliveries {webhook_id}", soft_wrap=True)


@app.command()
def deliveries(
    webhook_id: Which,
    limit: Annotated[int, typer.Option(min=1, max=limits.MAX_PAGE_SIZE)] = 20,
    status: Annotated[DeliveryStatus | None, typer.Option(help="Only these.")] = None,
    cursor: Annotated[str | None, typer.Option(help="The next page's, as printed.")] = None,
    as_json: AsJson = False,
) -> None:
    """What was and will be sent to a webhook, newest first, and what it answered."""
    page = _ask(
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
    as_json: AsJson = False,
) -> None:
    """Send a delivery again: the same id and body, a fresh schedule."""
    queued = _ask(lambda s3: s3.webhooks.redeliver(webhook_id, delivery_id))
    if as_json:
        show.as_json(queued)
    else:
        show.out.print(queued.delivery_id)


def _ask(question: Callable[[S3Client], Awaitable[Answer]]) -> Answer:
    async def asked() -> Answer:
        async with config.client() as s3:
            return await question(s3)

    return asyncio.run(asked())


def _webhooks(items: tuple[webhook_bodies.Webhook, ...]) -> Table:
    table = Table()
    for column in ("id", "url", "events", "state", "age"):
        table.add_column(column, no_wrap=column == "id")
    for item in items:
        events = ", ".join(item.events)
        table.add_row(
            str(item.id), escape(item.url), events, _state(item), show.age(item.created_at)
        )
    return table


def _state(webhook: webhook_bodies.Webhook) -> str:
    if not webhook.enabled:
        return f"off ({webhook.disabled_reason or 'owner'})"
    return f"on, {webhook.failures} failures" if webhook.failures else "on"


def _deliveries(items: tuple[webhook_bodies.Delivery, ...]) -> Table:
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


def _answer(attempt: webhook_bodies.DeliveryAttempt) -> str:
    if attempt.status_code is None:
        return f"none: {attempt.error or 'no reason given'}"
    return f"{attempt.status_code} in {attempt.latency_ms} ms"
