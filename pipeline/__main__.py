"""`python -m pipeline`: reads the settings, serves until SIGTERM or SIGINT."""

import asyncio
import signal
import sys
from functools import partial

import structlog
from aiohttp import web

from pipeline.server import logs
from pipeline.server.app import create_app
from pipeline.server.model_setup import open_segmenter
from pipeline.settings import Settings, SettingsInvalid, from_environment


log = structlog.get_logger(__name__)

#: Seconds that open requests get to end after a stop.
_GRACE_SECONDS = 20.0


def main() -> int:
    """Serve; give the process's exit code: 78 for unusable settings, 1 for a port that is taken."""
    try:
        settings = from_environment()
    except SettingsInvalid as error:
        sys.stderr.write(f"{error}\n")
        return 78  # EX_CONFIG: starting it again cannot help
    logs.configure(settings.s3_log_format)
    try:
        asyncio.run(serve(settings))
    except OSError as error:
        log.critical("start_failed", reason=str(error))
        return 1
    return 0


async def serve(settings: Settings) -> None:
    """Serve until told to stop."""
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    app = create_app(settings, partial(open_segmenter, settings))
    # A caller that hangs up withdraws its work, if that still waits.
    runner = web.AppRunner(
        app, handler_cancellation=True, access_log=None, shutdown_timeout=_GRACE_SECONDS
    )
    await runner.setup()
    try:
        await web.TCPSite(runner, settings.pipeline_host, settings.pipeline_port).start()
        host, port = runner.addresses[0][:2]
        log.info("pipeline_listening", url=f"http://{_bracketed(host)}:{port}")
        await stop.wait()
        log.info("pipeline_stopping")
    finally:
        await runner.cleanup()


def _bracketed(host: str) -> str:
    """Write an IPv6 address as URLs want it."""
    return f"[{host}]" if ":" in host else host


if __name__ == "__main__":
    sys.exit(main())
