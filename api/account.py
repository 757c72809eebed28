"""`GET /api/v1/me` and `GET /api/v1/usage`: the caller's tier, credits and ledger."""

from typing import Final

from aiohttp import web

from api import answers, keys, pages, parsing
from api.problems import Problem
from api.route import Route
from s3_sam3.contracts import bodies
from s3_sam3.contracts.errors import ErrorCode


async def get_me(request: web.Request) -> web.Response:
    """Answer who is asking, with tier and credits."""
    who = request[keys.PRINCIPAL]
    row = await request.app[keys.REST].select_one(
        "users_profile", who.token, columns="id,tier,credits", id=str(who.user_id)
    )
    if row is None:  # the account was deleted after the token was signed
        raise Problem(ErrorCode.NOT_FOUND)
    me = bodies.Me(user_id=row["id"], email=who.email, tier=row["tier"], credits=row["credits"])
    return answers.ok(request, me)


async def list_usage(request: web.Request) -> web.Response:
    """Answer one page of the caller's credit ledger, newest first."""
    query = parsing.query(request, pages.PageQuery)
    columns = "id,action,credits_used,result_id,created_at"
    table = request.app[keys.REST].table("usage_logs", request[keys.PRINCIPAL].token)
    found, next_cursor = await pages.fetch(table.select(columns), query, pages.BY_NUMBER)
    items = tuple(bodies.UsageEntry.model_validate(row) for row in found)
    return answers.ok(request, bodies.UsagePage(items=items, next_cursor=next_cursor))


ROUTES: Final = (
    Route("GET", "/api/v1/me", get_me, bodies.Me, errors=(ErrorCode.NOT_FOUND,)),
    Route("GET", "/api/v1/usage", list_usage, bodies.UsagePage, query=pages.PageQuery),
)
