"""`s3 results` and `s3 status`."""

from typing import Annotated
from uuid import UUID

import httpx
import typer

from s3_sam3 import Unreachable
from s3_sam3.cli import config, show
from s3_sam3.contracts import limits
from s3_sam3.contracts.tasks import TaskStatus


def results(
    limit: Annotated[int, typer.Option(min=1, max=limits.MAX_PAGE_SIZE)] = 20,
    status: Annotated[
        TaskStatus | None, typer.Option(help="Only results with this status.")
    ] = None,
    cursor: Annotated[str | None, typer.Option(help="Of the next page, as printed.")] = None,
    as_json: show.AsJson = False,
) -> None:
    page = config.call(lambda s3: s3.results(limit=limit, status=status, cursor=cursor))
    if as_json:
        show.as_json(page)
        return
    show.out.print(show.results(page.items))
    if page.next_cursor:
        show.err.print(f"More: s3 results --cursor {page.next_cursor}", soft_wrap=True)


def status(
    task_id: Annotated[UUID | None, typer.Argument(help="A task; without it the service.")] = None,
    as_json: show.AsJson = False,
) -> None:
    if task_id is not None:
        task = config.call(lambda s3: s3.task(task_id))
        if as_json:
            show.as_json(task)
            return
        show.out.print(show.status_line(task), soft_wrap=True)
        return
    answer = _service()
    if as_json:
        show.as_json(answer)
        return
    for name, value in answer.items():
        show.out.print(f"{name:>10}  {value}")


def _service() -> dict[str, str]:
    where = config.settings()
    try:
        ready = httpx.get(f"{where.s3_api_url}/ready", timeout=5.0)
    except httpx.TransportError as error:
        raise Unreachable(where.s3_api_url, str(error)) from error
    me = config.call(lambda s3: s3.me())
    return {
        "service": where.s3_api_url,
        "ready": "yes" if ready.is_success else f"no ({ready.status_code})",
        "signed in": me.email or str(me.user_id),
        "tier": me.tier,
        "credits": str(me.credits),
    }
