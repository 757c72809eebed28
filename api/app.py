"""The application, put together: what it holds, what surrounds a request, which routes it has."""

import asyncio
from collections.abc import AsyncIterator

import aiohttp
from aiohttp import web

from adapters.objects import ObjectStore
from adapters.rest import Rest
from api import keys, middlewares, openapi, parsing, prompt_checks, routes
from api.auth import Authenticator
from api.jwks import Jwks
from api.metrics import Metrics, OpenRequests
from api.rethresholding import Rethresholder
from api.settings import ApiSettings
from api.upload_checks import UploadChecks
from api.waiting import Waits


def build_app(settings: ApiSettings) -> web.Application:
    """Put the application together; nothing outside is reached before it starts."""
    app = web.Application(middlewares=middlewares.ALL, client_max_size=parsing.MAX_JSON_BYTES)
    app[keys.SETTINGS] = settings
    app[keys.METRICS] = Metrics()
    app[keys.TOKEN_COUNT] = prompt_checks.counter(settings.api_tokenizer_path)
    app[keys.OPENAPI] = openapi.document()
    app[keys.OPEN_REQUESTS] = OpenRequests()
    app[keys.STOPPING] = asyncio.Event()
    app[keys.WITH_TOKEN] = frozenset(one.operation for one in routes.ROUTES if not one.public)
    app.cleanup_ctx.extend(
        (_rest, _waits, _objects, _authenticator, _upload_checks, _rethresholder)
    )
    routes.register(app)
    return app


async def _rest(app: web.Application) -> AsyncIterator[None]:
    settings = app[keys.SETTINGS]
    async with Rest(url=settings.supabase_url, key=settings.supabase_anon_key) as rest:
        app[keys.REST] = rest
        yield


async def _waits(app: web.Application) -> AsyncIterator[None]:
    app[keys.WAITS] = waits = Waits(app[keys.REST])
    yield
    await waits.close()


async def _objects(app: web.Application) -> AsyncIterator[None]:
    settings = app[keys.SETTINGS]
    async with ObjectStore(
        endpoint=settings.r2_endpoint,
        access_key_id=settings.r2_access_key_id,
        secret_access_key=settings.r2_secret_access_key.get_secret_value(),
        bucket=settings.r2_bucket,
    ) as store:
        app[keys.OBJECTS] = store
        yield


async def _authenticator(app: web.Application) -> AsyncIterator[None]:
    settings = app[keys.SETTINGS]
    issuer = f"{settings.supabase_url}/auth/v1"
    secret = settings.supabase_jwt_secret
    async with aiohttp.ClientSession() as http:
        app[keys.AUTHENTICATOR] = Authenticator(
            jwks=Jwks(http, f"{issuer}/.well-known/jwks.json", settings.supabase_anon_key),
            issuer=issuer,
            secret=None if secret is None else secret.get_secret_value(),
        )
        yield


async def _upload_checks(app: web.Application) -> AsyncIterator[None]:
    async with UploadChecks() as checks:
        app[keys.UPLOAD_CHECKS] = checks
        yield


async def _rethresholder(app: web.Application) -> AsyncIterator[None]:
    async with Rethresholder() as rethresholder:
        app[keys.RETHRESHOLDER] = rethresholder
        yield
