"""`POST /api/v1/segment`."""

from contextlib import suppress

from aiohttp import web

from adapters import rest
from api import (
    answers,
    incoming,
    keys,
    place_check,
    prompt_check,
    rows,
    sources,
    task_store,
    waiting,
)
from api.queries import WaitQuery
from s3_sam3.contracts import bodies, prompts
from s3_sam3.contracts.tasks import FINAL_STATUSES


async def create_task(request: web.Request) -> web.Response:
    """Queue a task after everything that can be checked beforehand was checked."""
    app = request.app
    who = request[keys.PRINCIPAL]
    query = incoming.query(request, WaitQuery)
    key = incoming.idempotency_key(request)
    body = await incoming.body(request, bodies.SegmentRequest)
    prompt_check.check(prompts.with_ids(body.all_prompts), app[keys.TOKEN_COUNT])
    size = await sources.size_of_upload(app[keys.OBJECTS], body.image_url, who)
    place_check.check(body, size)

    submission = await task_store.submit(
        app[keys.REST], who, body, idempotency_key=key, pixels=size.pixels if size else None
    )
    headers = {"Location": f"/api/v1/tasks/{submission.row['id']}"}
    if submission.replayed:
        headers["Idempotent-Replayed"] = "true"
    else:
        app[keys.METRICS].submitted.inc()
    row = await waiting.until_final(request, submission.row, query.wait)
    status = 200 if row["status"] in FINAL_STATUSES else 202
    queue_status: rows.Row = {}
    # Cosmetic here, and the task is queued: no reason to fail.
    with suppress(rest.RestError):
        queue_status = await task_store.queue_status(app[keys.REST], who, row)
    return answers.ok(request, rows.task(row, queue_status), status=status, headers=headers)
