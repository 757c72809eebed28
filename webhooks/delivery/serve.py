"""The dispatcher's process: check the key; claim, send, settle; stop softly."""

import asyncio
import contextlib
import random
from collections.abc import AsyncIterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Final

import tenacity

from adapters import rest
from adapters.rest import RestError
from runtime import logs, settings
from runtime.stopping import stop_asked
from webhooks.delivery.endpoint_queues import AHEAD, EndpointQueues
from webhooks.delivery.outbox import Answer, Delivery, Outbox
from webhooks.delivery.sending import Sender


log = logs.get_logger(__name__)

_DICE: Final = random.SystemRandom()
LONGEST_BACKOFF_SECONDS: Final = 30.0

WORTH_A_CLAIM: Final = AHEAD // 2
"""A claim is one call, so it waits until there is room for many deliveries."""

SETTLEMENTS_AT_ONCE: Final = 8
"""
More are no faster for the database, and cost CPU time here: httpx looks at all its waiting requests
and open connections whenever one ends. By bench.webhooks a delivery costs 5.0 ms with 160 at once,
and 2.4 ms with 8.
"""


class Dispatcher:
    """One dispatcher; several on one database share the work, and no delivery is sent by two."""

    def __init__(
        self,
        outbox: Outbox,
        sender: Sender,
        queues: EndpointQueues,
        *,
        poll_seconds: float,
        concurrency: int,
    ) -> None:
        self.outbox = outbox
        self._sender = sender
        self._queues = queues
        self._poll_seconds = poll_seconds
        self._concurrency = concurrency
        self._settling = asyncio.Semaphore(SETTLEMENTS_AT_ONCE)
        self._running: set[asyncio.Task[None]] = set()
        self._ends = asyncio.Event()
        self._stopping = False
        self.counts = {"delivered": 0, "failed": 0, "stale": 0, "unsettled": 0}
        """Attempts since the start, by what came of them."""
        # The one place that catches everything: no fault may end the loop.
        self._retrying = tenacity.AsyncRetrying(
            retry=tenacity.retry_if_exception_type(Exception),
            wait=tenacity.wait_exponential_jitter(multiplier=2.0, max=LONGEST_BACKOFF_SECONDS),
            before_sleep=_log_failed_claim,
        )

    async def run(self, stop: asyncio.Event, *, grace: float) -> None:
        """
        Send until *stop*; open attempts then have *grace* seconds to be settled.

        What waits, and what is cut off, is due again when its lease ends. Raises what ended the
        claims: a dispatcher that claims nothing must not look alive.
        """
        claiming = asyncio.create_task(self._claim_on(), name="claims")
        stopping = asyncio.create_task(stop.wait(), name="stop")
        try:
            await asyncio.wait({claiming, stopping}, return_when=asyncio.FIRST_COMPLETED)
            if claiming.done():
                claiming.result()
        finally:
            for task in (claiming, stopping):
                task.cancel()
            await asyncio.gather(claiming, stopping, return_exceptions=True)
            await self._drain(grace)

    async def _drain(self, grace: float) -> None:
        self._stopping = True
        self._queues.clear()
        if self._running:
            await asyncio.wait(self._running, timeout=grace)
        for task in self._running:
            task.cancel()
        await asyncio.gather(*self._running, return_exceptions=True)

    async def _claim_on(self) -> None:
        while True:
            if self._queues.room(asyncio.get_running_loop().time()) < WORTH_A_CLAIM:
                await self._wait_for_room()
            else:
                await asyncio.sleep(await self._retrying(self._claim))

    async def _wait_for_room(self) -> None:
        """Wait until a send ended; or for a while, because queues may turn slow meanwhile."""
        self._ends.clear()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(self._poll_seconds):
                await self._ends.wait()

    async def _claim(self) -> float:
        """Claim what there is room for; how many seconds to wait before the next claim."""
        now = asyncio.get_running_loop().time()
        # There may be less room than before a failed claim.
        claimed = await self.outbox.claim(max(1, self._queues.room(now)))
        self._queues.put(claimed, now)
        self._start()
        return 0.0 if claimed else self._poll_seconds * _DICE.uniform(0.9, 1.1)

    def _start(self) -> None:
        now = asyncio.get_running_loop().time()
        while len(self._running) < self._concurrency and not self._stopping:
            delivery = self._queues.take(now)
            if delivery is None:
                return
            task = asyncio.create_task(self._one(delivery), name=delivery.id)
            self._running.add(task)
            task.add_done_callback(self._ended)

    def _ended(self, task: asyncio.Task[None]) -> None:
        self._running.discard(task)
        self._start()
        self._ends.set()

    async def _one(self, delivery: Delivery) -> None:
        answer: Answer | None = None
        try:
            answer = await self._sender.send(delivery)
            await self._settle(delivery, answer)
        except Exception:
            # As for claims; the delivery is due again when its lease ends.
            self.counts["unsettled"] += 1
            log.exception("delivery_failed", delivery_id=delivery.id)
        finally:
            self._queues.done(delivery, answer, asyncio.get_running_loop().time())

    async def _settle(self, delivery: Delivery, answer: Answer) -> None:
        try:
            async with self._settling:
                settled = await self.outbox.settle(delivery, answer)
        except RestError as error:
            self.counts["unsettled"] += 1
            log.warning("settle_failed", delivery_id=delivery.id, error=str(error))
            return
        facts = {
            "delivery_id": delivery.id,
            "endpoint_id": str(delivery.endpoint_id),
            "delivery_event": delivery.event,
            "attempt": delivery.attempt_count + 1,
            "status_code": answer.status_code,
            "latency_ms": answer.latency_ms,
        }
        if settled == "stale":
            self.counts["stale"] += 1
            log.warning("delivery_stale", **facts)
        elif answer.delivered:
            self.counts["delivered"] += 1
            log.info("delivery_sent", **facts)
        else:
            self.counts["failed"] += 1
            log.info("delivery_refused", error=answer.error, **facts)


def _log_failed_claim(state: tenacity.RetryCallState) -> None:
    error = state.outcome.exception() if state.outcome else None
    expected = isinstance(error, RestError)
    log.warning("claim_failed", error=str(error), exc_info=None if expected else error)


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
