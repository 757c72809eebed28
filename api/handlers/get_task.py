"""`GET /api/v1/tasks/{id}`."""

from aiohttp import web

from api import answers, incoming, keys, rows, task_store


async def get_task(request: web.Request) -> web.Response:
    """Answer status, progress and, while pending, its place, how long still, and what it lacks."""
    rest = request.app[keys.REST]
    who = request[keys.PRINCIPAL]
    row = await task_store.read(rest, who, incoming.path_id(request))
    queue_status = await task_store.queue_status(rest, who, row)
    return answers.ok(request, rows.task(row, queue_status))
