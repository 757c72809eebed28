"""Placeholder until the routes are written."""

from aiohttp import web


def add_routes(app: web.Application) -> None:
    """Add nothing yet to *app*."""
