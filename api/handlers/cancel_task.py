"""`DELETE /api/v1/tasks/{id}`."""

from aiohttp import web

from api import answers, incoming, keys, rows, task_store


async def cancel_task(request: web.Request) -> web.Response:
    """Cancel a task that has not ended; what was not computed is given back."""
    rest = request.app[keys.REST]
    who = request[keys.PRINCIPAL]
    task_id = incoming.path_id(request)
    await task_store.cancel(rest, who, task_id)
    return answers.ok(request, rows.task(await task_store.read(rest, who, task_id)))
