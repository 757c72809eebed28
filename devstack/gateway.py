"""One port with Supabase's paths: the routes, CORS, and errors for all other paths."""

import logging

import psycopg
from aiohttp import web
from aiohttp.typedefs import Handler

from devstack import context
from devstack.auth import routes as auth_routes
from devstack.functions import routes as function_routes
from devstack.realtime import routes as realtime_routes
from devstack.rest import routes as rest_routes


log = logging.getLogger(__name__)

#: Rows may carry documents; files go to the object store.
MAX_BODY_BYTES = 32 * 1024 * 1024

#: Of Supabase, but not here.
UNSUPPORTED = {
    "/storage/v1": "Storage: this project keeps objects in R2; use the R2_* variables.",
    "/graphql/v1": "GraphQL: use /rest/v1.",
    "/pg": "The Studio backend: use SUPABASE_DB_URL.",
}

#: Browsers may keep the answer to a preflight this long.
PREFLIGHT_SECONDS = 3600

EXPOSED_HEADERS = "Content-Range, Content-Location, Location, X-Supabase-Api-Version, X-Total-Count"


def build(shared: context.Context) -> web.Application:
    """The gateway, as an application that is not yet served."""
    app = web.Application(middlewares=[answer_plainly], client_max_size=MAX_BODY_BYTES)
    app[context.CONTEXT] = shared
    app.on_response_prepare.append(allow_any_origin)
    app.router.add_get("/", greet)
    auth_routes.add_routes(app)
    rest_routes.add_routes(app)
    realtime_routes.add_routes(app)
    return app


@web.middleware
async def answer_plainly(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Answer preflights; turn plain-text errors and failures into JSON."""
    preflights = request.method == "OPTIONS" and "Access-Control-Request-Method" in request.headers
    if preflights and not _answers_for_itself(request):
        return preflight(request)
    try:
        return await handler(request)
    except web.HTTPException as error:
        if error.status < 400 or error.content_type == "application/json":  # noqa: PLR2004
            raise
        return explain(request, error)
    except psycopg.OperationalError as error:
        log.warning("%s %s: no database: %s", request.method, request.path, error)
        return problem(503, "database_unavailable", "The database does not answer.")
    except Exception:
        # A client parses JSON, and the log has the traceback.
        log.exception("%s %s failed", request.method, request.path)
        message = "The devstack failed; its log has the traceback."
        return problem(500, "unexpected_failure", message)


def preflight(request: web.Request) -> web.Response:
    """What a browser asks before a cross-origin request; everything is allowed here."""
    asked = request.headers.get("Access-Control-Request-Headers", "*")
    headers = {
        "Access-Control-Allow-Methods": "GET, HEAD, POST, PUT, PATCH, DELETE, OPTIONS",
        "Access-Control-Allow-Headers": asked,
        "Access-Control-Max-Age": str(PREFLIGHT_SECONDS),
        "Vary": "Access-Control-Request-Headers",
    }
    return web.Response(status=204, headers=headers)


async def allow_any_origin(request: web.Request, response: web.StreamResponse) -> None:
    """Let pages of any origin read *response*; keys, not cookies, say who asks."""
    if _answers_for_itself(request):
        return
    response.headers["Access-Control-Allow-Origin"] = "*"
    response.headers["Access-Control-Expose-Headers"] = EXPOSED_HEADERS


def _answers_for_itself(request: web.Request) -> bool:
    """Whether CORS is an Edge Function's business, as it is on the hosted platform."""
    return request.path.startswith(function_routes.PREFIX + "/")


async def greet(request: web.Request) -> web.Response:
    url = request.config_dict[context.CONTEXT].url
    return web.json_response({"name": "devstack", "url": url})


def explain(request: web.Request, error: web.HTTPException) -> web.Response:
    """*error* as JSON; a path of Supabase that the devstack does not serve is said to be one."""
    for prefix, hint in UNSUPPORTED.items():
        if request.path == prefix or request.path.startswith(prefix + "/"):
            return problem(501, "not_supported", f"The devstack does not serve {prefix}.", hint)
    code = "_".join(error.reason.lower().split())
    return problem(error.status, code, f"{error.reason}: {request.method} {request.path}")


def problem(status: int, code: str, message: str, hint: str | None = None) -> web.Response:
    """An error in the shape that every Supabase client can read."""
    body = {"code": code, "message": message, "details": None, "hint": hint}
    return web.json_response(body, status=status)
