"""While there is room and a model: claim what is due, start attempts."""

import asyncio
from collections import Counter
from typing import Final

from adapters import machine_auth, rest, telemetry
from listener.attempt import Bench, attempt
from listener.lease_store import Claim
from listener.shielded import to_the_end
from listener.wake import Wake, WakeSource


log = telemetry.get_logger(__name__)

_FORBIDDEN: Final = 403


class Claimer:
    """Looks at the queue when woken, and owns the attempts that come of it."""

    def __init__(self, wake: Wake, bench: Bench, *, concurrency: int) -> None:
        self.claims_by_source: Counter[WakeSource] = Counter()
        self.running: set[asyncio.Task[None]] = set()
        self._wake = wake
        self._bench = bench
        self._concurrency = concurrency
        self._room = asyncio.Event()
        self._room.set()
        self._attempts: asyncio.TaskGroup | None = None

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
        try:
            taken, claims = await self._bench.store.claim(free)
        except (rest.RestError, machine_auth.MachineAuthError) as error:
            _explain(error)
            return
        self.claims_by_source[source] += taken
        for claim in claims:
            self._start(claim, source, attempts)
        if taken == free:
            # There may be more; the clock or another hint is not waited for.
            self._wake.hint(source)

    def _start(self, claim: Claim, source: WakeSource, attempts: asyncio.TaskGroup) -> None:
        log.info(
            "task_claimed",
            task_id=str(claim.id),
            token=claim.token,
            source=source.value,
            attempt=claim.attempt_count,
            claims_by_source={name.value: count for name, count in self.claims_by_source.items()},
        )
        task = attempts.create_task(attempt(claim, self._bench))
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
