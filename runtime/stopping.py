"""Ctrl-C and SIGTERM become an event."""

import asyncio
import signal


def stop_asked() -> asyncio.Event:
    """An event that SIGINT and SIGTERM set, for the running loop."""
    stop = asyncio.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    return stop
