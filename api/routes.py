"""
Every route of the API, as one table.

The table is what the application registers, what the OpenAPI document is made from and what
docs/contracts/api-contracts.md is compared with.
"""

from typing import Final

from aiohttp import web

from api import account, operations, projects, results, tasks, uploads, webhooks
from api.route import Route
from s3_sam3.contracts.errors import ErrorCode


ROUTES: Final[tuple[Route, ...]] = (
    *uploads.ROUTES,
    *tasks.ROUTES,
    *results.ROUTES,
    *projects.ROUTES,
    *account.ROUTES,
    *webhooks.ROUTES,
    *operations.ROUTES,
)

EVERYWHERE: Final = (
    ErrorCode.METHOD_NOT_ALLOWED,
    ErrorCode.SHUTTING_DOWN,
    ErrorCode.INTERNAL,
)
"""Codes that any route may answer; an unknown path is `not_found`."""

WITH_TOKEN: Final = (
    ErrorCode.UNAUTHENTICATED,
    ErrorCode.TOKEN_EXPIRED,
    ErrorCode.FORBIDDEN,
    ErrorCode.UPSTREAM_UNAVAILABLE,
)
"""Codes that any route with a token may answer besides."""


def error_codes(route: Route) -> tuple[ErrorCode, ...]:
    """Every code that *route* may answer, in the order of ErrorCode."""
    codes = {*route.errors, *EVERYWHERE, *(() if route.public else WITH_TOKEN)}
    return tuple(code for code in ErrorCode if code in codes)


def register(app: web.Application) -> None:
    """Put the table into the application's router; GET answers HEAD too."""
    for route in ROUTES:
        if route.method == "GET":
            app.router.add_get(route.path, route.handler, name=route.operation)
        else:
            app.router.add_route(route.method, route.path, route.handler, name=route.operation)
