"""`POST /api/v1/results/{id}/rethreshold`."""

from aiohttp import web

from api import answers, incoming, keys, task_store
from api.problems import Problem
from s3_sam3.contracts import bodies
from s3_sam3.contracts.errors import ErrorCode
from s3_sam3.contracts.tasks import TaskStatus


async def rethreshold_result(request: web.Request) -> web.Response:
    """Cut a result anew from what the model found then; costs nothing and stores nothing."""
    app = request.app
    task_id = incoming.path_id(request)
    body = await incoming.body(request, bodies.RethresholdRequest)
    row = await task_store.read(app[keys.REST], request[keys.PRINCIPAL], task_id)
    if row["status"] != TaskStatus.DONE:
        raise Problem(ErrorCode.NOT_DONE, {"status": row["status"]})
    data = await app[keys.RETHRESHOLDER].rethreshold(
        app[keys.OBJECTS], row["manifest_url"], task_id, body
    )
    return answers.ok_json(request, data)
