"""The life of the process: check the key, send, stop softly."""

import asyncio
from collections.abc import AsyncIterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Final

from adapters import rest
from runtime import logs, settings
from runtime.stopping import stop_asked
from webhooks.delivery.dispatching import Dispatcher
from webhooks.delivery.endpoint_queues import EndpointQueues
from webhooks.delivery.outbox import Outbox
from webhooks.delivery.sending import Sender


log = logs.get_logger(__name__)

RESOLVING_THREADS: Final = 64
"""Names are resolved in threads; one user's slow name server must not occupy them all."""


class DispatcherSettings(settings.ServiceKeySettings):
    """What `python -m webhooks.delivery` reads; docs/settings.md explains each."""

    dispatcher_allow_private: bool = False
    s3_log_format: logs.LogFormat = "auto"


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    poll_seconds: float = 1.0
    """Between two claims while nothing is due."""
    concurrency: int = 200
    """Open requests in all."""
    per_endpoint: int = 4
    """Open requests to one endpoint."""
    timeout_seconds: float = 15.0
    """For a whole answer."""
    lease_seconds: int = 60
    """At least twice the timeout."""
    grace_seconds: float = 20.0
    """How long a stop waits for open requests."""


@asynccontextmanager
async def built(config: DispatcherSettings, limits: Limits) -> AsyncIterator[Dispatcher]:
    key = config.supabase_service_key.get_secret_value()
    private = config.dispatcher_allow_private
    async with (
        rest.Rest(url=config.supabase_url, key=key) as database,
        Sender(timeout_seconds=limits.timeout_seconds, allow_private=private) as sender,
    ):
        yield Dispatcher(
            Outbox(database, lease_seconds=limits.lease_seconds),
            sender,
            EndpointQueues(
                per_endpoint=limits.per_endpoint,
                # Time is left for an attempt, and half as long again for its settlement.
                patience_seconds=limits.lease_seconds - 1.5 * limits.timeout_seconds,
            ),
            poll_seconds=limits.poll_seconds,
            concurrency=limits.concurrency,
        )


async def serve(config: DispatcherSettings, limits: Limits | None = None) -> None:
    """Run until SIGTERM or SIGINT. Raises: SettingsError."""
    limits = limits or Limits()
    resolvers = ThreadPoolExecutor(RESOLVING_THREADS, "resolve")
    asyncio.get_running_loop().set_default_executor(resolvers)
    if config.dispatcher_allow_private:
        log.warning("private_addresses_allowed", why="DISPATCHER_ALLOW_PRIVATE, for development")
    async with built(config, limits) as dispatcher:
        await check_key(dispatcher.outbox)
        log.info("dispatcher_started")
        await dispatcher.run(stop_asked(), grace=limits.grace_seconds)
    log.info("dispatcher_stopped", attempts=dispatcher.counts)


async def check_key(outbox: Outbox) -> None:
    """
    Use the key once. Raises: SettingsError when it is refused.

    A database that does not answer is not the key's fault: it is logged, and waited for.
    """
    try:
        await outbox.check()
    except rest.RestRefused as error:
        msg = (
            "The database refuses SUPABASE_SERVICE_KEY as the service role,"
            f" or lacks the migrations of this version ({error})."
        )
        raise settings.SettingsError(msg) from error
    except rest.RestUnavailable as error:
        log.warning("database_unavailable", error=str(error))
