"""`DELETE /api/v1/results/{id}`."""

from aiohttp import web

from adapters import objects, telemetry
from api import answers, incoming, keys, task_store
from contracts import bodies


log = telemetry.get_logger(__name__)


async def delete_result(request: web.Request) -> web.Response:
    """
    Delete a result's row, then its objects.

    The row first: an object without a row is garbage that a sweeper finds, a row without its
    objects is a broken promise. So a failing store does not fail the request.
    """
    task_id = incoming.path_id(request)
    who = request[keys.PRINCIPAL]
    for prefix in await task_store.delete(request.app[keys.REST], who, task_id):
        try:
            await request.app[keys.OBJECTS].delete_prefix(prefix)
        except objects.ObjectError as error:
            log.warning("objects_left_behind", prefix=prefix, error=repr(error))
    return answers.ok(request, bodies.Deleted(id=task_id))
