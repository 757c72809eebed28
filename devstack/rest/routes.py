"""The `/rest/v1` routes: read the request, plan it, run it as the caller, answer."""

import asyncio
import contextlib
import functools
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import TypeVar

import psycopg
from aiohttp import web

from devstack import context
from devstack.rest import (
    calls,
    catalogue,
    errors,
    ranges,
    responses,
    sqlstate,
    tables,
    transaction,
    wire,
)
from devstack.rest.plan import Outcome, Plan
from devstack.rest.schema_cache import SchemaCache


CACHE = web.AppKey("rest_schema_cache", SchemaCache)

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]
Planned = TypeVar("Planned")


def add_routes(app: web.Application) -> None:
    """Serve `/rest/v1` from *app*, which must hold a `context.CONTEXT` when it starts."""
    app.cleanup_ctx.append(_schema_cache)
    prefix = wire.PREFIX
    app.router.add_route("*", f"{prefix}/rpc/{{name}}", _answering(_function))
    app.router.add_route("*", f"{prefix}/{{name}}", _answering(_table))
    for elsewhere in (prefix, f"{prefix}/{{tail:.*}}"):
        app.router.add_route("*", elsewhere, _answering(_elsewhere))


async def _schema_cache(app: web.Application) -> AsyncIterator[None]:
    stack = app[context.CONTEXT]
    app[CACHE] = cache = SchemaCache(stack.pool)
    listening = asyncio.create_task(cache.listen(stack.dsn), name="rest-schema-cache")
    yield
    listening.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await listening


def _answering(handler: Handler) -> Handler:
    """Turn what *handler* raises into PostgREST's answers."""

    @functools.wraps(handler)
    async def handle(request: web.Request) -> web.StreamResponse:
        role = wire.role_of(context.claims_of(request))
        try:
            return await handler(request)
        except errors.RestError as error:
            return responses.failure(error)
        except psycopg.Error as error:
            _forget_if_unknown(request, error)
            anonymous = role == wire.ANONYMOUS
            return responses.failure(sqlstate.translate(error, anonymous=anonymous))

    return handle


async def _elsewhere(request: web.Request) -> web.StreamResponse:
    raise errors.InvalidPathError(details=request.path)


async def _table(request: web.Request) -> web.StreamResponse:
    asked = await wire.read(request, is_call=False)
    answer = {
        "GET": _read,
        "HEAD": _read,
        "POST": _insert,
        "PATCH": _update,
        "DELETE": _delete,
    }.get(request.method)
    if answer is None:
        raise errors.MethodNotAllowedError(
            f"Unsupported HTTP method: {request.method}",
            hint="Use POST with Prefer: resolution=merge-duplicates instead of PUT.",
        )
    return await answer(request, asked)


async def _read(request: web.Request, asked: wire.RestRequest) -> web.Response:
    window = ranges.requested(asked.query.root, asked.range_header)

    def make(known: catalogue.Catalogue) -> tuple[Plan, None]:
        return tables.read(_target(request, asked, known), window), None

    outcome, _ = await _run(request, make)
    return responses.read(outcome, window, asked.preferences, asked.shape)


async def _insert(request: web.Request, asked: wire.RestRequest) -> web.Response:
    rows = wire.rows(asked.body, same_keys=asked.query.columns is None)

    def make(known: catalogue.Catalogue) -> tuple[Plan, None]:
        return tables.insert(_target(request, asked, known), rows), None

    outcome, _ = await _run(request, make)
    return responses.inserted(outcome, asked.preferences, asked.shape)


async def _update(request: web.Request, asked: wire.RestRequest) -> web.Response:
    rows = wire.rows(asked.body, same_keys=asked.query.columns is None)

    def make(known: catalogue.Catalogue) -> tuple[Plan, None]:
        return tables.update(_target(request, asked, known), rows), None

    outcome, _ = await _run(request, make)
    return responses.changed(outcome, asked.preferences, asked.shape, deleted=False)


async def _delete(request: web.Request, asked: wire.RestRequest) -> web.Response:
    def make(known: catalogue.Catalogue) -> tuple[Plan, None]:
        return tables.delete(_target(request, asked, known)), None

    outcome, _ = await _run(request, make)
    return responses.changed(outcome, asked.preferences, asked.shape, deleted=True)


async def _function(request: web.Request) -> web.StreamResponse:
    if request.method not in {"GET", "HEAD", "POST"}:
        raise errors.MethodNotAllowedError(f"Cannot use the {request.method} method on RPC")
    asked = await wire.read(request, is_call=True)
    arguments = None if asked.is_read else wire.arguments(asked.body)
    window = ranges.requested(asked.query.root, asked.range_header)

    def make(known: catalogue.Catalogue) -> tuple[Plan, catalogue.Function]:
        call = calls.Call(
            known=known,
            name=request.match_info["name"],
            body=arguments,
            query=asked.query,
            preferences=asked.preferences,
            shape=asked.shape,
        )
        function = calls.find(call)
        return calls.call_function(call, function, window), function

    outcome, function = await _run(request, make)
    if function.returns_void:
        return responses.called_void(outcome, asked.preferences)
    return responses.read(outcome, window, asked.preferences, asked.shape)


def _target(
    request: web.Request, asked: wire.RestRequest, known: catalogue.Catalogue
) -> tables.Target:
    return tables.Target(
        known=known,
        relation=tables.relation_of(known, request.match_info["name"]),
        query=asked.query,
        preferences=asked.preferences,
        shape=asked.shape,
    )


async def _run(
    request: web.Request, make: Callable[[catalogue.Catalogue], tuple[Plan, Planned]]
) -> tuple[Outcome, Planned]:
    """Plan with the cached catalogue, or with a fresh one if that lacks something; then run."""
    asked_at = time.monotonic()
    cache = request.config_dict[CACHE]
    known = await cache.get()
    try:
        plan, planned = make(known)
    except errors.SchemaError:
        known = await cache.reload(asked_at)
        plan, planned = make(known)
    caller = wire.caller(request, context.claims_of(request), known)
    pool = request.config_dict[context.CONTEXT].pool
    return await transaction.run(pool, plan, caller), planned


def _forget_if_unknown(request: web.Request, error: psycopg.Error) -> None:
    """Forget the catalogue if PostgreSQL did not know what it said was there."""
    state = error.sqlstate or ""
    if state.startswith("42") and state != sqlstate.INSUFFICIENT_PRIVILEGE:
        request.config_dict[CACHE].forget()
