"""The loop: claim, send, settle, at once while there is work, else by the clock."""

import asyncio
import contextlib
import random
from typing import Final

from adapters.rest import RestError
from runtime import logs
from webhooks.delivery.answers import Answer
from webhooks.delivery.lines import AHEAD, Lines
from webhooks.delivery.outbox import Delivery, Outbox
from webhooks.delivery.sending import Sender


log = logs.get_logger(__name__)

_DICE: Final = random.SystemRandom()
LONGEST_BACKOFF_SECONDS: Final = 30.0

WORTH_A_CLAIM: Final = AHEAD // 2
"""Claims are one call each, so places are filled by the dozen."""

SETTLEMENTS_AT_ONCE: Final = 8
"""
More are no faster for the database, and cost us: httpx looks at all its waiting requests and open
connections whenever one ends. By bench.webhooks a delivery takes 5.0 ms of our processor with 160
at once, and 2.4 ms with 8.
"""


class Dispatcher:
    """One dispatcher; several on one database share the work and never a delivery."""

    def __init__(
        self,
        outbox: Outbox,
        sender: Sender,
        lines: Lines,
        *,
        poll_seconds: float,
        concurrency: int,
    ) -> None:
        self._outbox = outbox
        self._sender = sender
        self._lines = lines
        self._poll_seconds = poll_seconds
        self._concurrency = concurrency
        self._settling = asyncio.Semaphore(SETTLEMENTS_AT_ONCE)
        self._running: set[asyncio.Task[None]] = set()
        self._ends = asyncio.Event()
        self._failures = 0
        self._stopping = False
        self.counts = {"delivered": 0, "failed": 0, "stale": 0, "unsettled": 0}
        """Attempts since the start, by what came of them."""

    async def run(self, stop: asyncio.Event, *, grace: float) -> None:
        """
        Send until *stop*; what is being sent then has *grace* seconds to be settled.

        What waits, and what is cut off, comes back when its lease ends. Raises what ended the
        claims, for a dispatcher that claims nothing must not look alive.
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
        self._lines.clear()
        if self._running:
            await asyncio.wait(self._running, timeout=grace)
        for task in self._running:
            task.cancel()
        await asyncio.gather(*self._running, return_exceptions=True)

    async def _claim_on(self) -> None:
        while True:
            now = asyncio.get_running_loop().time()
            room = self._lines.room(now)
            if room < WORTH_A_CLAIM:
                await self._wait_for_room()
            else:
                await asyncio.sleep(await self._claim(room, now))

    async def _wait_for_room(self) -> None:
        """Wait until a sending ended; by the clock for lines that turn slow meanwhile."""
        self._ends.clear()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(self._poll_seconds):
                await self._ends.wait()

    async def _claim(self, room: int, now: float) -> float:
        """Claim *room* deliveries; answer how many seconds to wait before the next look."""
        try:
            claimed = await self._outbox.claim(room)
        except RestError as error:
            log.warning("claim_failed", error=str(error))
            return self._after_failure()
        except Exception:
            # The one place that catches everything: a fault must not end the loop.
            log.exception("claim_failed")
            return self._after_failure()
        self._failures = 0
        self._lines.put(claimed, now)
        self._start()
        return 0.0 if claimed else self._poll_seconds * _DICE.uniform(0.9, 1.1)

    def _after_failure(self) -> float:
        self._failures += 1
        backoff = min(2.0 ** min(self._failures, 10), LONGEST_BACKOFF_SECONDS)
        return backoff * _DICE.uniform(0.5, 1.5)

    def _start(self) -> None:
        now = asyncio.get_running_loop().time()
        while len(self._running) < self._concurrency and not self._stopping:
            delivery = self._lines.take(now)
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
            # As above; its lease brings it back.
            self.counts["unsettled"] += 1
            log.exception("delivery_failed", delivery_id=delivery.id)
        finally:
            self._lines.done(delivery, answer, asyncio.get_running_loop().time())

    async def _settle(self, delivery: Delivery, answer: Answer) -> None:
        try:
            async with self._settling:
                said = await self._outbox.settle(delivery, answer)
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
        if said == "stale":
            self.counts["stale"] += 1
            log.warning("delivery_stale", **facts)
        elif answer.delivered:
            self.counts["delivered"] += 1
            log.info("delivery_sent", **facts)
        else:
            self.counts["failed"] += 1
            log.info("delivery_refused", error=answer.error, **facts)
