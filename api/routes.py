"""
Every route of the API, as one table.

The table is what the application registers, what the OpenAPI document is made from and what
docs/contracts/api-contracts.md is compared with.
"""

from typing import Final

from aiohttp import web
from aiohttp.typedefs import Handler

from api import keys, webhook_routes
from api.handlers import account, operations, projects
from api.handlers.cancel_task import cancel_task
from api.handlers.create_task import create_task
from api.handlers.delete_result import delete_result
from api.handlers.get_result import get_result
from api.handlers.get_task import get_task
from api.handlers.list_results import list_results
from api.handlers.rethreshold_result import rethreshold_result
from api.handlers.upload_image import upload_image
from api.queries import PageQuery, ResultsQuery, WaitQuery
from api.route import Route
from s3_sam3.contracts import bodies
from s3_sam3.contracts.errors import ErrorCode


_Code = ErrorCode


ROUTES: Final = (
    Route(
        method="POST",
        path="/api/v1/upload",
        handler=upload_image,
        answer=bodies.Upload,
        status=201,
        errors=(
            _Code.EMPTY_BODY,
            _Code.INVALID_REQUEST,
            _Code.UNSUPPORTED_MEDIA_TYPE,
            _Code.FILE_TOO_LARGE,
            _Code.IMAGE_TOO_LARGE,
            _Code.INVALID_IMAGE,
        ),
    ),
    Route(
        method="POST",
        path="/api/v1/segment",
        handler=create_task,
        request=bodies.SegmentRequest,
        query=WaitQuery,
        answer=bodies.Task,
        status=202,
        errors=(
            _Code.EMPTY_BODY,
            _Code.INVALID_REQUEST,
            _Code.FILE_TOO_LARGE,
            _Code.NOT_FOUND,
            _Code.SOURCE_NOT_FOUND,
            _Code.PROMPT_EMPTY,
            _Code.PROMPT_TOO_LONG,
            _Code.PROMPT_INVALID,
            _Code.INSUFFICIENT_CREDITS,
            _Code.IDEMPOTENCY_CONFLICT,
            _Code.RATE_LIMITED,
        ),
        headers=("Idempotency-Key",),
    ),
    Route(
        method="GET",
        path="/api/v1/tasks/{id}",
        handler=get_task,
        answer=bodies.Task,
        errors=(_Code.NOT_FOUND,),
    ),
    Route(
        method="DELETE",
        path="/api/v1/tasks/{id}",
        handler=cancel_task,
        answer=bodies.Task,
        errors=(_Code.NOT_FOUND, _Code.ALREADY_FINAL),
    ),
    Route(
        method="GET",
        path="/api/v1/results",
        handler=list_results,
        query=ResultsQuery,
        answer=bodies.ResultPage,
        errors=(_Code.INVALID_REQUEST,),
    ),
    Route(
        method="GET",
        path="/api/v1/results/{id}",
        handler=get_result,
        answer=bodies.ResultDetail,
        errors=(_Code.NOT_FOUND,),
    ),
    Route(
        method="DELETE",
        path="/api/v1/results/{id}",
        handler=delete_result,
        answer=bodies.Deleted,
        errors=(_Code.NOT_FOUND,),
    ),
    Route(
        method="POST",
        path="/api/v1/results/{id}/rethreshold",
        handler=rethreshold_result,
        request=bodies.RethresholdRequest,
        answer=bodies.Rethresholded,
        errors=(
            _Code.EMPTY_BODY,
            _Code.INVALID_REQUEST,
            _Code.FILE_TOO_LARGE,
            _Code.NOT_FOUND,
            _Code.NOT_DONE,
        ),
    ),
    Route(
        method="GET",
        path="/api/v1/projects",
        handler=projects.list_projects,
        answer=bodies.ProjectList,
    ),
    Route(
        method="POST",
        path="/api/v1/projects",
        handler=projects.create_project,
        request=bodies.ProjectRequest,
        answer=bodies.Project,
        status=201,
        errors=(_Code.EMPTY_BODY, _Code.INVALID_REQUEST, _Code.FILE_TOO_LARGE),
    ),
    Route(
        method="GET",
        path="/api/v1/projects/{id}",
        handler=projects.get_project,
        answer=bodies.Project,
        errors=(_Code.NOT_FOUND,),
    ),
    Route(
        method="PATCH",
        path="/api/v1/projects/{id}",
        handler=projects.rename_project,
        request=bodies.ProjectRequest,
        answer=bodies.Project,
        errors=(_Code.EMPTY_BODY, _Code.INVALID_REQUEST, _Code.FILE_TOO_LARGE, _Code.NOT_FOUND),
    ),
    Route(
        method="DELETE",
        path="/api/v1/projects/{id}",
        handler=projects.delete_project,
        answer=bodies.Deleted,
        errors=(_Code.NOT_FOUND,),
    ),
    Route(
        method="GET",
        path="/api/v1/me",
        handler=account.get_me,
        answer=bodies.Me,
        errors=(_Code.NOT_FOUND,),
    ),
    Route(
        method="GET",
        path="/api/v1/usage",
        handler=account.list_usage,
        query=PageQuery,
        answer=bodies.UsagePage,
        errors=(_Code.INVALID_REQUEST,),
    ),
    *webhook_routes.ROUTES,
    Route(method="GET", path="/health", handler=operations.get_health, answer=operations.Health),
    Route(
        method="GET",
        path="/ready",
        handler=operations.get_ready,
        answer=operations.Readiness,
        errors=(_Code.UPSTREAM_UNAVAILABLE,),
    ),
    Route(method="GET", path="/metrics", handler=operations.get_metrics, answer=None),
    Route(method="GET", path="/openapi.json", handler=operations.get_openapi, answer=None),
)

EVERYWHERE: Final = (
    _Code.METHOD_NOT_ALLOWED,
    _Code.SHUTTING_DOWN,
    _Code.INTERNAL,
)
"""Codes that any route may answer; an unknown path is `not_found`."""

WITH_TOKEN: Final = (
    _Code.UNAUTHENTICATED,
    _Code.TOKEN_EXPIRED,
    _Code.FORBIDDEN,
    _Code.UPSTREAM_UNAVAILABLE,
)
"""Codes that any route with a token may answer besides."""


def error_codes(route: Route) -> tuple[ErrorCode, ...]:
    """Every code that *route* may answer, in the order of ErrorCode."""
    codes = {*route.errors, *EVERYWHERE, *(() if route.public else WITH_TOKEN)}
    return tuple(code for code in ErrorCode if code in codes)


def register(app: web.Application) -> None:
    """Put the table into the application's router; GET answers HEAD too."""
    for route in ROUTES:
        handler = route.handler if route.public else _guarded(route.handler)
        if route.method == "GET":
            app.router.add_get(route.path, handler, name=route.operation)
        else:
            app.router.add_route(route.method, route.path, handler, name=route.operation)


def _guarded(handler: Handler) -> Handler:
    """Let only a known user through to *handler*."""

    async def guarded(request: web.Request) -> web.StreamResponse:
        header = request.headers.get("Authorization")
        request[keys.PRINCIPAL] = await request.app[keys.AUTHENTICATOR].principal(header)
        return await handler(request)

    return guarded
