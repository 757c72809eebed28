"""What goes wrong, spread over the whole run: the next fault comes when enough jobs have ended."""

import asyncio
import functools
import random
import signal
from collections import Counter
from collections.abc import Awaitable, Callable, Coroutine
from dataclasses import dataclass, field
from typing import Any

from bench.chaos.fleet import Slot
from bench.chaos.plan import Plan
from bench.chaos.stage import Stage


Fault = Callable[[], Awaitable[None]]

#: Shares of the jobs between which faults happen.
FIRST, LAST = 0.02, 0.93


@dataclass(slots=True)
class Faults:
    """Does to a stage what the plan says."""

    stage: Stage
    plan: Plan
    done: Counter[str] = field(default_factory=Counter)
    _background: set[asyncio.Task[None]] = field(default_factory=set)

    async def happen(self, ended: Callable[[], int]) -> None:
        """Do every fault in its turn; *ended* says how many jobs are final."""
        schedule = self._schedule()
        for place, fault in enumerate(schedule):
            share = FIRST + (LAST - FIRST) * (place + random.random()) / len(schedule)
            due = share * self.plan.jobs
            looked = self.stage.observer.looked
            async with looked:
                await looked.wait_for(functools.partial(_at_least, ended, due))
            await fault()
        if self._background:
            await asyncio.wait(self._background)
            for task in self._background:
                task.result()

    def _schedule(self) -> list[Fault]:
        plan = self.plan
        few: list[Fault] = [
            *[self._restart_postgres] * plan.postgres_restarts,
            *[self._cut_realtime] * plan.realtime_cuts,
            *[self._kill_store] * plan.store_kills,
            *[self._pause_store] * (plan.store_pause_seconds > 0),
        ]
        random.shuffle(few)
        many: list[Fault] = [
            *[self._kill_listener] * plan.listener_kills,
            *[self._kill_gpu] * plan.gpu_kills,
            *[self._freeze_listener] * plan.zombies,
            *[self._stop_softly] * plan.soft_stops,
        ]
        random.shuffle(many)
        # The few are spread evenly, so that the platform has time to be well in between.
        for place, fault in enumerate(few):
            many.insert(round((place + 0.5) * len(many) / len(few)), fault)
        return many

    async def _kill_listener(self) -> None:
        (await self._some_listener()).signal(signal.SIGKILL)
        self.done["listener SIGKILL"] += 1

    async def _stop_softly(self) -> None:
        (await self._some_listener()).signal(signal.SIGTERM)
        self.done["listener SIGTERM"] += 1

    async def _freeze_listener(self) -> None:
        slot = await self._some_listener()
        self._beside(slot.freeze(self.plan.lease_seconds + random.uniform(0.5, 3.0)))
        self.done["listener SIGSTOP beyond its lease"] += 1

    async def _kill_gpu(self) -> None:
        random.choice(self.stage.fleet.gpus).signal(signal.SIGKILL)
        self.done["GPU SIGKILL"] += 1

    async def _some_listener(self) -> Slot:
        while True:
            slot = self.stage.fleet.victim(self.stage.network.seen.workers)
            if slot is not None:
                return slot
            await asyncio.sleep(0.05)

    async def _restart_postgres(self) -> None:
        # In turns: an immediate stop, and a SIGKILL of the postmaster.
        what = ("restart", "kill")[self.done["PostgreSQL restart"] % 2]
        self.done["PostgreSQL restart"] += 1
        await self.stage.order("postgres", what)

    async def _cut_realtime(self) -> None:
        self.stage.network.cut()
        self.done["Realtime cut"] += 1

    async def _kill_store(self) -> None:
        self.done["object store SIGKILL"] += 1
        self._beside(self.stage.order("objects", "kill"))

    async def _pause_store(self) -> None:
        self.done["object store stopped, seconds"] += round(self.plan.store_pause_seconds)
        await self.stage.order("objects", "pause")
        self._beside(self._resume_store())

    async def _resume_store(self) -> None:
        await asyncio.sleep(self.plan.store_pause_seconds)
        await self.stage.order("objects", "resume")

    def _beside(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.create_task(work)
        self._background.add(task)


def _at_least(ended: Callable[[], int], due: float) -> bool:
    return ended() >= due
