"""The life of the running process: check the keys, keep the chores, stop softly."""

import asyncio
import contextlib
import signal
from typing import Final

from janitor import build, door
from janitor.chores import keep
from janitor.settings import JanitorSettings
from janitor.state import State
from runtime import logs


log = logs.get_logger(__name__)

GRACE_SECONDS: Final = 5.0
"""For rounds that run when a stop is asked for."""


async def serve(config: JanitorSettings) -> None:
    """Run until SIGTERM or SIGINT. Raises: SettingsError."""
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for name in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(name, stop.set)
    state = State()
    async with contextlib.AsyncExitStack() as stack:
        doors = await stack.enter_async_context(build.opened(config))
        await build.check_keys(doors)
        if config.janitor_port is not None:
            port = await stack.enter_async_context(door.opened(state, config.janitor_port))
            log.info("state_served", url=f"http://127.0.0.1:{port}/health")
        log.info("janitor_started", sweep=config.janitor_sweep)
        await keep(build.chores(config, doors, state), state, stop, grace=GRACE_SECONDS)
    log.info("janitor_stopped", state=state.document())
