"""While there is room and a model: claim what is due, start attempts."""

import asyncio
from collections import Counter
from typing import Final

from adapters import machine_auth, rest
from listener.attempt import Bench, attempt_together
from listener.lease_store import Claim
from listener.ride import rides
from listener.shielded import to_the_end
from listener.wake import Wake, WakeSource
from runtime import logs


log = logs.get_logger(__name__)

_FORBIDDEN: Final = 403


class Claimer:
    """Looks at the queue when woken, and owns the attempts that come of it."""

    def __init__(self, wake: Wake, bench: Bench, *, concurrency: int) -> None:
        self.claims_by_source: Counter[WakeSource] = Counter()
        self.running: set[asyncio.Task[None]] = set()
        """One for each picture in hand, with all its tasks."""
        self._wake = wake
        self._bench = bench
        self._concurrency = concurrency
        self._room = asyncio.Event()
        self._room.set()

    async def run(self, attempts: asyncio.TaskGroup) -> None:
        """
        Look whenever woken, until cancelled; attempts live in *attempts*, not here.

        A cancellation never cuts a look in two: tasks claimed by a request whose answer nobody
        read would be locked until their lease ends.
        """
        while True:
            source = await self._wake.wait()
            await self._room.wait()
            await self._bench.model.until_working()
            await to_the_end(self._look(source, attempts))

    async def _look(self, source: WakeSource, attempts: asyncio.TaskGroup) -> None:
        free = self._concurrency - len(self.running)
        capabilities = self._bench.capabilities.with_model(self._bench.model.model)
        try:
            taken = await self._bench.store.claim(free, capabilities)
        except (rest.RestError, machine_auth.MachineAuthError) as error:
            _explain(error)
            return
        self.claims_by_source[source] += taken.tasks
        for claims in rides(taken.claims):
            self._start(claims, source, attempts)
        if taken.pictures >= free:
            # There may be more; the clock or another hint is not waited for.
            self._wake.hint(source)

    def _start(self, claims: list[Claim], source: WakeSource, attempts: asyncio.TaskGroup) -> None:
        by_source = {name.value: count for name, count in self.claims_by_source.items()}
        for claim in claims:
            log.info(
                "task_claimed",
                task_id=str(claim.id),
                token=claim.token,
                rides_with=claim.lead_token,
                source=source.value,
                attempt=claim.attempt_count,
                claims_by_source=by_source,
            )
        task = attempts.create_task(attempt_together(claims, self._bench))
        self.running.add(task)
        task.add_done_callback(self._ended)
        if len(self.running) >= self._concurrency:
            self._room.clear()

    def _ended(self, task: asyncio.Task[None]) -> None:
        self.running.discard(task)
        self._room.set()


def _explain(error: Exception) -> None:
    """Say why nothing was claimed; the clock brings the next look."""
    if isinstance(error, rest.RestRefused) and error.status == _FORBIDDEN:
        log.error(
            "machine_disabled",
            meaning="this machine is not registered or was disabled; nothing is claimed",
            error=str(error),
        )
    else:
        log.warning("claim_failed", error=str(error))
