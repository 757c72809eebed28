"""`GET /api/v1/results`."""

from aiohttp import web

from api import answers, incoming, keys, task_store
from api.queries import ResultsQuery


async def list_results(request: web.Request) -> web.Response:
    """Answer one page of the caller's results, newest first."""
    query = incoming.query(request, ResultsQuery)
    page = await task_store.page(request.app[keys.REST], request[keys.PRINCIPAL], query)
    return answers.ok(request, page)
