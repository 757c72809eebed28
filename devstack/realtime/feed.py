"""The one reader of the replication stream, kept alive across database restarts."""

import asyncio
import logging
import time

import psycopg

from devstack import context
from devstack.realtime import changes, hub, identity, messages, pgoutput, replication, visibility


log = logging.getLogger(__name__)

#: Waits between attempts to open the stream, growing to the last.
RETRY_SECONDS = (0.1, 0.2, 0.5, 1.0, 2.0)

PRUNE_SECONDS = 600.0


class Feed:
    """Carries commits to the hub. While it is not live, nothing from the database arrives."""

    def __init__(self, pool: context.Pool, dsn: str, channels: hub.Hub) -> None:
        self._pool = pool
        self._dsn = dsn
        self._hub = channels
        self._changes = changes.ChangeFeed(channels)
        #: Set while the stream is open.
        self.live = asyncio.Event()

    async def run(self) -> None:
        """
        Read until cancelled; reopen the stream when it breaks.

        Subscribers are told "Subscribed to PostgreSQL" each time it opens, so that they can look
        again at what they may have missed.
        """
        failures = 0
        while True:
            started_at = time.monotonic()
            try:
                await self._read()
            except psycopg.Error as error:
                log.warning("feed lost: %s", str(error).partition("\n")[0])
            except Exception:
                # Whatever broke with the connection: without the feed, clients would go deaf.
                log.exception("feed lost")
            finally:
                self.live.clear()
            failures = 0 if time.monotonic() - started_at > RETRY_SECONDS[-1] else failures + 1
            await asyncio.sleep(RETRY_SECONDS[min(failures, len(RETRY_SECONDS) - 1)])

    async def prune(self) -> None:
        """Delete old messages now and then, until cancelled."""
        while True:
            try:
                await messages.prune(self._pool)
            except psycopg.Error as error:
                log.warning("old messages not deleted: %s", str(error).strip())
            await asyncio.sleep(PRUNE_SECONDS)

    async def _read(self) -> None:
        async with (
            replication.open_stream(self._dsn) as stream,
            visibility.open_connection(self._dsn) as connection,
        ):
            await self._pool.check()  # after a restart it is full of broken connections
            self.live.set()
            log.info("feed started")
            self._hub.announce()
            async for transaction in stream.transactions():
                try:
                    await self._deliver(connection, transaction)
                except Exception:
                    # A fault over one transaction must not end the feed for all.
                    log.exception("transaction %d not delivered", transaction.xid)
                    if connection.closed:
                        raise

    async def _deliver(
        self, connection: identity.Connection, transaction: pgoutput.Transaction
    ) -> None:
        sent = [one for one in messages.broadcasts(transaction) if self._hub.is_heard(one.key)]
        wanted = self._changes.wants(transaction)
        if not sent and not wanted:
            return
        await visibility.commit(connection, transaction)
        for one in sent:
            self._hub.broadcast(one)
        if wanted:
            await self._changes.deliver(connection, transaction)
