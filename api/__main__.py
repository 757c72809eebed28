"""`python -m api`: read the settings, serve, stop gracefully."""

import asyncio
import signal

from aiohttp import web

from adapters import settings, telemetry
from api.app import build_app
from api.settings import ApiSettings


log = telemetry.get_logger(__name__)


async def serve(config: ApiSettings) -> None:
    """
    Serve until SIGTERM or SIGINT.

    Then: accept nothing more, end the waits, give open requests API_SHUTDOWN_SECONDS, close.
    """
    asked_to_stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, asked_to_stop.set)
    runner = web.AppRunner(
        build_app(config), access_log=None, shutdown_timeout=config.api_shutdown_seconds
    )
    await runner.setup()
    try:
        await web.TCPSite(runner, config.api_host, config.api_port).start()
        host, port = runner.addresses[0][:2]
        log.info("api_started", url=f"http://{host}:{port}", supabase=config.supabase_url)
        await asked_to_stop.wait()
        log.info("api_stopping", grace_seconds=config.api_shutdown_seconds)
    finally:
        await runner.cleanup()
    log.info("api_stopped")


def main() -> None:
    """Read the settings, or say which are missing and leave with status 78."""
    config = settings.load_or_exit(ApiSettings)
    telemetry.configure(config.s3_log_format)
    asyncio.run(serve(config))


if __name__ == "__main__":
    main()
