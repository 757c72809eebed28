"""
`/functions/v1/{name}`: who may call, and how a request is passed on.

The codes of our own answers are those of the hosted platform. CORS is the function's business, here
as there: a page that would fail against the hosted function fails here too.
"""

import logging
from collections.abc import AsyncIterator

import aiohttp
from aiohttp import web
from multidict import CIMultiDict
from yarl import URL

from devstack import context, errors
from devstack import tokens as jwts
from devstack.functions import deno
from devstack.functions.running import RunningFunctions


log = logging.getLogger(__name__)

PREFIX = "/functions/v1"

#: The hosted platform gives up on a silent function after as long.
TIMEOUT = aiohttp.ClientTimeout(total=None, sock_connect=5, sock_read=150)

#: These belong to one connection, not to the message (RFC 9110, 7.6.1).
HOP_BY_HOP = frozenset(
    {
        *("connection", "keep-alive", "proxy-authenticate", "proxy-authorization", "te"),
        *("trailer", "transfer-encoding", "upgrade", "host"),
    }
)

FUNCTIONS = web.AppKey("functions", RunningFunctions)
HTTP = web.AppKey("http", aiohttp.ClientSession)


def add_routes(app: web.Application, runtime: deno.Runtime) -> None:
    """Let *app* serve the functions of *runtime*, and end them with itself."""
    app[FUNCTIONS] = RunningFunctions(runtime)
    app.cleanup_ctx.append(_opened)
    app.router.add_route("*", PREFIX + "/{name}", call)
    app.router.add_route("*", PREFIX + "/{name}/{tail:.*}", call)


async def call(request: web.Request) -> web.StreamResponse:
    """Pass a request on to its function."""
    functions = request.app[FUNCTIONS]
    function = deno.find(functions.runtime.folder, request.match_info["name"])
    if function is None:
        return _problem(404, "NOT_FOUND", "Requested function was not found")
    # A preflight carries no token, there as here.
    if function.verify_jwt and request.method != "OPTIONS":
        refusal = _refusal(request)
        if refusal is not None:
            return refusal
    try:
        url = await functions.url_of(function)
        try:
            return await _forward(request, url)
        except aiohttp.ClientConnectorError:
            # It died unnoticed. Nothing was sent, so the request is whole.
            return await _forward(request, await functions.replacement_of(function, url))
    except deno.DenoMissingError as error:
        return _problem(503, "DENO_MISSING", f"The devstack cannot serve functions. {error}")
    except errors.StackError as error:
        log.warning("function_does_not_start %s: %s", function.name, error)
        return _problem(503, "BOOT_ERROR", f"Worker failed to boot: {error}")
    except (aiohttp.ClientError, TimeoutError) as error:
        log.warning("function_failed %s: %r", request.path, error)
        return _problem(502, "WORKER_ERROR", "The function ended or fell silent; see its log.")


async def _opened(app: web.Application) -> AsyncIterator[None]:
    async with aiohttp.ClientSession(
        timeout=TIMEOUT,
        auto_decompress=False,
        cookie_jar=aiohttp.DummyCookieJar(),
        # A kept connection to a function that has died since would cost a request.
        connector=aiohttp.TCPConnector(limit=0, force_close=True),
    ) as http:
        app[HTTP] = http
        yield
    await app[FUNCTIONS].stop()


async def _forward(request: web.Request, url: str) -> web.StreamResponse:
    """The function sees its own path without the prefix, as on the hosted platform."""
    target = URL(url + request.raw_path.removeprefix(PREFIX), encoded=True)
    async with request.app[HTTP].request(
        request.method,
        target,
        headers=_passed_on(request.headers),
        data=request.content if request.can_read_body else None,
        allow_redirects=False,
    ) as answer:
        return await _relay(request, answer)


async def _relay(request: web.Request, answer: aiohttp.ClientResponse) -> web.StreamResponse:
    headers = _passed_on(answer.headers)
    relayed = web.StreamResponse(status=answer.status, reason=answer.reason, headers=headers)
    await relayed.prepare(request)
    async for chunk in answer.content.iter_any():
        await relayed.write(chunk)
    await relayed.write_eof()
    return relayed


def _passed_on(headers: "aiohttp.typedefs.LooseHeaders") -> CIMultiDict[str]:
    kept: CIMultiDict[str] = CIMultiDict()
    for name, value in CIMultiDict(headers).items():
        if name.lower() not in HOP_BY_HOP:
            kept.add(name, value)
    return kept


def _refusal(request: web.Request) -> web.Response | None:
    """Why the caller may not call, if so: the bearer must be a token or a key of this stack."""
    scheme, _, token = request.headers.get("Authorization", "").partition(" ")
    if scheme.lower() != "bearer":
        return _problem(401, "UNAUTHORIZED_NO_AUTH_HEADER", "Missing authorization header")
    try:
        request.config_dict[context.CONTEXT].tokens.verify(token.strip())
    except jwts.TokenError as error:
        return _problem(401, "UNAUTHORIZED_INVALID_JWT_FORMAT", f"Invalid JWT: {error.message}")
    return None


def _problem(status: int, code: str, message: str) -> web.Response:
    return web.json_response({"code": code, "message": message}, status=status)
