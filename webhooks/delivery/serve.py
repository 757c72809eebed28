"""The life of the process: check the key, send, stop softly."""

import asyncio
import signal
from concurrent.futures import ThreadPoolExecutor
from typing import Final

from adapters import rest
from runtime import logs
from runtime.settings import SettingsError
from webhooks.delivery.dispatching import Dispatcher
from webhooks.delivery.lines import Lines
from webhooks.delivery.outbox import Outbox
from webhooks.delivery.sending import Sender
from webhooks.delivery.settings import DispatcherSettings


log = logs.get_logger(__name__)

RESOLVING_THREADS: Final = 64
"""Names are resolved in threads; one customer's slow name server must not hold them all."""


async def serve(config: DispatcherSettings) -> None:
    """Run until SIGTERM or SIGINT. Raises: SettingsError."""
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    loop.set_default_executor(ThreadPoolExecutor(RESOLVING_THREADS, "resolve"))
    for name in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(name, stop.set)
    if config.dispatcher_allow_private:
        log.warning("private_addresses_allowed", why="DISPATCHER_ALLOW_PRIVATE, for development")
    key = config.supabase_service_key.get_secret_value()
    async with (
        rest.Rest(url=config.supabase_url, key=key) as door,
        Sender(
            timeout_seconds=config.dispatcher_timeout_seconds,
            allow_private=config.dispatcher_allow_private,
        ) as sender,
    ):
        outbox = Outbox(door, lease_seconds=config.dispatcher_lease_seconds)
        await check_key(outbox)
        dispatcher = Dispatcher(
            outbox,
            sender,
            lines_of(config),
            poll_seconds=config.dispatcher_poll_seconds,
            concurrency=config.dispatcher_concurrency,
        )
        log.info("dispatcher_started")
        await dispatcher.run(stop, grace=config.dispatcher_grace_seconds)
    log.info("dispatcher_stopped", attempts=dispatcher.counts)


def lines_of(config: DispatcherSettings) -> Lines:
    """Lines that give up what could not be settled within its lease."""
    return Lines(
        per_endpoint=config.dispatcher_endpoint_concurrency,
        # An attempt and half of one more for its settlement.
        patience_seconds=config.dispatcher_lease_seconds - 1.5 * config.dispatcher_timeout_seconds,
    )


async def check_key(outbox: Outbox) -> None:
    """
    Use the key once. Raises: SettingsError when it is refused.

    A database that does not answer is no fault of the key: it is logged, and waited for.
    """
    try:
        await outbox.check()
    except rest.RestRefused as error:
        msg = (
            "The database refuses SUPABASE_SERVICE_KEY as the service role,"
            f" or lacks the migrations of this version ({error})."
        )
        raise SettingsError(msg) from error
    except rest.RestUnavailable as error:
        log.warning("database_unavailable", error=str(error))
