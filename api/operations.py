"""What operators and their programs ask: health, readiness, metrics, the OpenAPI document."""

import asyncio
from collections.abc import Awaitable
from typing import Final, Literal

from aiohttp import web
from prometheus_client.exposition import CONTENT_TYPE_PLAIN_0_0_4
from pydantic import BaseModel

from adapters import objects, rest
from api import answers, keys
from api.problems import Problem
from api.route import Route
from s3_sam3.contracts.errors import ErrorCode


_PROBE_SECONDS: Final = 3.0


class Health(BaseModel):
    """The process runs."""

    status: Literal["ok"] = "ok"


class Readiness(BaseModel):
    """What the API needs answers."""

    supabase: bool
    objects: bool


async def get_health(request: web.Request) -> web.Response:
    """Answer that the process runs; nothing outside is asked."""
    return answers.ok(request, Health())


async def get_ready(request: web.Request) -> web.Response:
    """Answer whether Supabase and the object store answer; 503 when one does not."""
    supabase, store = await asyncio.gather(
        _reachable(request.app[keys.REST].ping()), _reachable(request.app[keys.OBJECTS].ping())
    )
    readiness = Readiness(supabase=supabase, objects=store)
    if not (supabase and store):
        raise Problem(ErrorCode.UPSTREAM_UNAVAILABLE, readiness.model_dump())
    return answers.ok(request, readiness)


async def get_metrics(request: web.Request) -> web.Response:
    """Answer the counters, in Prometheus' own format and so without an envelope."""
    text = request.app[keys.METRICS].text(len(request.app[keys.OPEN_REQUESTS]))
    return web.Response(body=text, headers={"Content-Type": CONTENT_TYPE_PLAIN_0_0_4})


async def get_openapi(request: web.Request) -> web.Response:
    """Answer the OpenAPI document, without an envelope, as its readers expect it."""
    return web.json_response(request.app[keys.OPENAPI])


async def _reachable(probe: Awaitable[None]) -> bool:
    try:
        async with asyncio.timeout(_PROBE_SECONDS):
            await probe
    except (rest.RestError, objects.ObjectError, TimeoutError):
        return False
    return True


ROUTES: Final = (
    Route("GET", "/health", get_health, Health),
    Route("GET", "/ready", get_ready, Readiness, errors=(ErrorCode.UPSTREAM_UNAVAILABLE,)),
    Route("GET", "/metrics", get_metrics, None),
    Route("GET", "/openapi.json", get_openapi, None),
)
