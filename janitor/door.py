"""`GET /health` on this host: the process's state as JSON."""

import contextlib
from collections.abc import AsyncIterator
from typing import Final

from aiohttp import web

from janitor.state import State
from runtime.settings import SettingsError


_HOST: Final = "127.0.0.1"
"""The state names users, so it is for this host alone."""


@contextlib.asynccontextmanager
async def opened(state: State, port: int) -> AsyncIterator[int]:
    """Answer on *port* (0: any free one); the port it became. Raises: SettingsError: taken."""

    async def health(_request: web.Request) -> web.Response:
        return web.json_response(state.document())

    app = web.Application()
    app.add_routes([web.get("/health", health)])
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    try:
        try:
            await web.TCPSite(runner, _HOST, port).start()
        except OSError as error:
            msg = f"JANITOR_PORT {port} cannot be used ({error.strerror})."
            raise SettingsError(msg) from error
        yield runner.addresses[0][1]
    finally:
        await runner.cleanup()
