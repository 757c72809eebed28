"""`python -m api`: read the settings, serve, stop gracefully."""

import asyncio
import signal
import sys
from typing import Final

from aiohttp import web

from api import keys
from api.app import build_app
from api.settings import ApiSettings
from runtime import logs, settings


log = logs.get_logger(__name__)

_GRACE_SECONDS: Final = 20.0
"""How long a stop waits for open requests."""

_CLOSING_SECONDS: Final = 2.0
"""For sending the last answers, once every handler has ended or is out of time."""


async def serve(config: ApiSettings) -> None:
    """Serve until SIGTERM or SIGINT; then let open requests end."""
    asked_to_stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, asked_to_stop.set)
    runner = web.AppRunner(build_app(config), access_log=None, shutdown_timeout=_CLOSING_SECONDS)
    await runner.setup()
    try:
        await web.TCPSite(runner, config.api_host, config.api_port).start()
        host, port = runner.addresses[0][:2]
        log.info("api_started", url=f"http://{host}:{port}", supabase=config.supabase_url)
        await asked_to_stop.wait()
        await drain(runner, _GRACE_SECONDS)
    finally:
        await runner.cleanup()
    log.info("api_stopped")


async def drain(runner: web.AppRunner, seconds: float) -> None:
    """Accept nothing more, end the waits, and give open requests *seconds* to end."""
    open_requests = runner.app[keys.OPEN_REQUESTS]
    log.info("api_stopping", open_requests=len(open_requests), grace_seconds=seconds)
    for site in tuple(runner.sites):
        await site.stop()
    runner.app[keys.STOPPING].set()
    runner.app[keys.WAITS].stop()
    if not await open_requests.ended(seconds):
        log.warning("requests_cut_off", open_requests=len(open_requests))


def main() -> None:
    """Read the settings, or say which are missing and leave with status 78."""
    config = settings.load_or_exit(ApiSettings)
    logs.configure(config.s3_log_format)
    try:
        asyncio.run(serve(config))
    except OSError as error:
        where = f"{config.api_host}:{config.api_port}"
        sys.exit(f"The API cannot listen on {where}: {error.strerror or error}")


if __name__ == "__main__":
    main()
