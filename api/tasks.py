"""`POST /api/v1/segment` and `/api/v1/tasks`: submit, look, cancel."""

from contextlib import suppress
from http import HTTPStatus
from typing import Final

from aiohttp import web
from pydantic import Field

from adapters.rest import RestError
from api import answers, keys, parsing, prompt_checks, source_picture, task_store
from api.route import Route
from s3_sam3.contracts import bodies, limits, prompts
from s3_sam3.contracts.errors import ErrorCode
from s3_sam3.contracts.tasks import FINAL_STATUSES


class WaitQuery(parsing.Query):
    """How long `POST /api/v1/segment` may wait for the end of the task."""

    wait: float = Field(
        default=0,
        ge=0,
        le=limits.MAX_WAIT_SECONDS,
        description="Seconds to wait for the task to end; 200 when it did, 202 when not.",
    )


async def create_task(request: web.Request) -> web.Response:
    """Queue a task after everything that can be checked beforehand was checked."""
    app = request.app
    who = request[keys.PRINCIPAL]
    query = parsing.query(request, WaitQuery)
    key = parsing.idempotency_key(request)
    body = await parsing.body(request, bodies.SegmentRequest)
    prompt_checks.check(prompts.with_ids(body.all_prompts), app[keys.TOKEN_COUNT])
    size = await source_picture.size_of_upload(app[keys.OBJECTS], body.image_url, who)
    source_picture.check_geometry(body, size)

    submission = await task_store.submit(
        app[keys.REST], who, body, idempotency_key=key, pixels=size.pixels if size else None
    )
    headers = {"Location": f"/api/v1/tasks/{submission.row['id']}"}
    if submission.replayed:
        headers["Idempotent-Replayed"] = "true"
    else:
        app[keys.METRICS].submitted.inc()
    row = await app[keys.WAITS].until_final(request, who, submission.row, query.wait)
    status = HTTPStatus.OK if row["status"] in FINAL_STATUSES else HTTPStatus.ACCEPTED
    queue_status: task_store.Row = {}
    # The task is queued: the request does not fail because its place in the queue is not known.
    with suppress(RestError):
        queue_status = await task_store.queue_status(app[keys.REST], who, row)
    task = task_store.task(row, queue_status)
    return answers.ok(request, task, status=status, headers=headers)


async def get_task(request: web.Request) -> web.Response:
    """Answer status and progress; while pending also position, ETA, and what it lacks."""
    rest = request.app[keys.REST]
    who = request[keys.PRINCIPAL]
    row = await task_store.read(rest, who, parsing.path_id(request))
    queue_status = await task_store.queue_status(rest, who, row)
    return answers.ok(request, task_store.task(row, queue_status))


async def cancel_task(request: web.Request) -> web.Response:
    """Cancel a task that has not ended; credits for what was not computed are given back."""
    rest = request.app[keys.REST]
    who = request[keys.PRINCIPAL]
    task_id = parsing.path_id(request)
    await task_store.cancel(rest, who, task_id)
    return answers.ok(request, task_store.task(await task_store.read(rest, who, task_id)))


_TASK: Final = "/api/v1/tasks/{id}"

ROUTES: Final = (
    Route(
        "POST",
        "/api/v1/segment",
        create_task,
        bodies.Task,
        status=HTTPStatus.ACCEPTED,
        request=bodies.SegmentRequest,
        query=WaitQuery,
        headers=(parsing.IDEMPOTENCY_HEADER,),
        errors=(
            ErrorCode.NOT_FOUND,
            ErrorCode.SOURCE_NOT_FOUND,
            ErrorCode.PROMPT_EMPTY,
            ErrorCode.PROMPT_TOO_LONG,
            ErrorCode.PROMPT_INVALID,
            ErrorCode.INSUFFICIENT_CREDITS,
            ErrorCode.IDEMPOTENCY_CONFLICT,
            ErrorCode.RATE_LIMITED,
        ),
    ),
    Route("GET", _TASK, get_task, bodies.Task),
    Route("DELETE", _TASK, cancel_task, bodies.Task, errors=(ErrorCode.ALREADY_FINAL,)),
)
