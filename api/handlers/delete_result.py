"""`DELETE /api/v1/results/{id}`."""

from aiohttp import web

from api import answers, incoming, keys, task_store
from s3_sam3.contracts import bodies


async def delete_result(request: web.Request) -> web.Response:
    """
    Delete a result; its objects follow.

    The objects are not deleted here: a request that dies half-way would leave them behind. The
    row's transaction notes them in an outbox, and whoever works that off tries until they are gone.
    """
    task_id = incoming.path_id(request)
    await task_store.delete(request.app[keys.REST], request[keys.PRINCIPAL], task_id)
    return answers.ok(request, bodies.Deleted(id=task_id))
