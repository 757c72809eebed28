"""`POST /api/v1/segment`."""

from contextlib import suppress

from aiohttp import web

from adapters import objects, rest
from api import answers, incoming, keys, prompt_check, rows, task_store, waiting
from api.auth import Principal
from api.problems import Problem
from api.queries import WaitQuery
from contracts import bodies, object_keys, prompts
from contracts.errors import ErrorCode
from contracts.tasks import FINAL_STATUSES


async def create_task(request: web.Request) -> web.Response:
    """Queue a task after everything that can be checked beforehand was checked."""
    app = request.app
    who = request[keys.PRINCIPAL]
    query = incoming.query(request, WaitQuery)
    key = incoming.idempotency_key(request)
    body = await incoming.body(request, bodies.SegmentRequest)
    prompt_check.check(prompts.with_ids(body.all_prompts), app[keys.TOKEN_COUNT])
    await _must_be_uploaded(app[keys.OBJECTS], body.image_url, who)

    submission = await task_store.submit(app[keys.REST], who, body, key)
    headers = {"Location": f"/api/v1/tasks/{submission.row['id']}"}
    if submission.replayed:
        headers["Idempotent-Replayed"] = "true"
    else:
        app[keys.METRICS].submitted.inc()
    row = await waiting.until_final(request, submission.row, query.wait)
    status = 200 if row["status"] in FINAL_STATUSES else 202
    position = None
    # Cosmetic here, and the task is queued: no reason to fail.
    with suppress(rest.RestError):
        position = await task_store.queue_position(app[keys.REST], who, row)
    return answers.ok(request, rows.task(row, position), status=status, headers=headers)


async def _must_be_uploaded(store: objects.ObjectStore, key: str, who: Principal) -> None:
    """Somebody else's upload and none at all get the same answer, so nobody learns of either."""
    if not object_keys.is_upload_of(key, who.user_id):
        raise Problem(ErrorCode.SOURCE_NOT_FOUND)
    try:
        await store.head(key)
    except objects.ObjectNotFound:
        raise Problem(ErrorCode.SOURCE_NOT_FOUND) from None
