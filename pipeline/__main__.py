"""`python -m pipeline`: reads the settings, serves until SIGTERM or SIGINT."""

import asyncio
import sys
from functools import partial
from typing import Final

from aiohttp import web

from pipeline.server.admission import Bounds
from pipeline.server.app import create_app
from pipeline.server.model_host import open_segmenter
from pipeline.settings import Settings
from runtime import logs
from runtime.settings import load_or_exit
from runtime.stopping import stop_asked


log = logs.get_logger(__name__)

#: Only this machine may connect: the listener runs on the same one.
HOST: Final = "127.0.0.1"

#: Seconds that open requests get to end after a stop.
_GRACE_SECONDS: Final = 20.0


def main(bounds: Bounds | None = None) -> int:
    """Serve; give the process's exit code: 78 for unusable settings, 1 for a port that is taken."""
    settings = load_or_exit(Settings)
    logs.configure(settings.s3_log_format)
    try:
        asyncio.run(serve(settings, bounds))
    except OSError as error:
        log.critical("start_failed", reason=str(error))
        return 1
    return 0


async def serve(settings: Settings, bounds: Bounds | None = None) -> None:
    """Serve until told to stop."""
    stop = stop_asked()
    app = create_app(settings, partial(open_segmenter, settings), bounds)
    # A caller that hangs up withdraws its work, if that still waits.
    runner = web.AppRunner(
        app, handler_cancellation=True, access_log=None, shutdown_timeout=_GRACE_SECONDS
    )
    await runner.setup()
    try:
        await web.TCPSite(runner, HOST, settings.pipeline_port).start()
        log.info("pipeline_listening", url=f"http://{HOST}:{runner.addresses[0][1]}")
        await stop.wait()
        log.info("pipeline_stopping")
    finally:
        await runner.cleanup()


if __name__ == "__main__":
    sys.exit(main())
