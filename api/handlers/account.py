"""`GET /api/v1/me` and `GET /api/v1/usage`."""

from aiohttp import web

from api import account_store, answers, incoming, keys
from api.queries import PageQuery


async def get_me(request: web.Request) -> web.Response:
    """Answer who is asking, with tier and credits."""
    who = request[keys.PRINCIPAL]
    return answers.ok(request, await account_store.read_me(request.app[keys.REST], who))


async def list_usage(request: web.Request) -> web.Response:
    """Answer one page of the caller's credit ledger."""
    query = incoming.query(request, PageQuery)
    who = request[keys.PRINCIPAL]
    return answers.ok(request, await account_store.usage_page(request.app[keys.REST], who, query))
