"""
The application, put together: its routes, what surrounds a request, what it holds.

The table of routes is what the application registers, what the OpenAPI document is made from and
what docs/contracts/api-contracts.md is compared with.
"""

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, aclosing
from typing import Final

import aiohttp
from aiohttp import web

from adapters.objects import ObjectStore
from adapters.rest import Rest
from api import (
    account,
    keys,
    middlewares,
    openapi,
    operations,
    parsing,
    projects,
    prompt_checks,
    results,
    tasks,
    uploads,
    webhooks,
)
from api.auth import Authenticator
from api.jwks import Jwks
from api.metrics import Metrics, OpenRequests
from api.rethresholding import Rethresholder
from api.route import Route
from api.settings import ApiSettings
from api.upload_checks import UploadChecks
from api.waiting import Waits


ROUTES: Final[tuple[Route, ...]] = (
    *uploads.ROUTES,
    *tasks.ROUTES,
    *results.ROUTES,
    *projects.ROUTES,
    *account.ROUTES,
    *webhooks.ROUTES,
    *operations.ROUTES,
)


def build_app(settings: ApiSettings) -> web.Application:
    """Put the application together; nothing outside is reached before it starts."""
    app = web.Application(middlewares=middlewares.ALL, client_max_size=parsing.MAX_JSON_BYTES)
    app[keys.SETTINGS] = settings
    app[keys.METRICS] = Metrics()
    app[keys.TOKEN_COUNT] = prompt_checks.counter(settings.api_tokenizer_path)
    app[keys.OPENAPI] = openapi.document(ROUTES)
    app[keys.OPEN_REQUESTS] = OpenRequests()
    app[keys.STOPPING] = asyncio.Event()
    app[keys.WITH_TOKEN] = frozenset(one.operation for one in ROUTES if not one.public)
    app.cleanup_ctx.append(_connections)
    for route in ROUTES:
        if route.method == "GET":  # and HEAD
            app.router.add_get(route.path, route.handler, name=route.operation)
        else:
            app.router.add_route(route.method, route.path, route.handler, name=route.operation)
    return app


async def _connections(app: web.Application) -> AsyncIterator[None]:
    """Open what the handlers use, and close it when the server stops."""
    settings = app[keys.SETTINGS]
    secret = settings.supabase_jwt_secret
    issuer = f"{settings.supabase_url}/auth/v1"
    async with AsyncExitStack() as stack:
        enter = stack.enter_async_context
        rest = await enter(Rest(url=settings.supabase_url, key=settings.supabase_anon_key))
        http = await enter(aiohttp.ClientSession())
        app[keys.REST] = rest
        app[keys.WAITS] = await enter(aclosing(Waits(rest)))
        app[keys.OBJECTS] = await enter(
            ObjectStore(
                endpoint=settings.r2_endpoint,
                access_key_id=settings.r2_access_key_id,
                secret_access_key=settings.r2_secret_access_key.get_secret_value(),
                bucket=settings.r2_bucket,
            )
        )
        app[keys.AUTHENTICATOR] = Authenticator(
            jwks=Jwks(http, f"{issuer}/.well-known/jwks.json", settings.supabase_anon_key),
            issuer=issuer,
            secret=None if secret is None else secret.get_secret_value(),
        )
        app[keys.UPLOAD_CHECKS] = await enter(UploadChecks())
        app[keys.RETHRESHOLDER] = await enter(Rethresholder())
        yield
