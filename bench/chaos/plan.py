"""How much of everything one run does."""

from dataclasses import dataclass, replace
from typing import Final


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """Counts of what happens while the jobs run; seconds where it says so."""

    jobs: int
    users: int
    waiting: int
    """Jobs that are submitted and not final, at most; keeps the faults among the work."""
    listeners: int
    gpus: int
    listener_kills: int
    gpu_kills: int
    zombies: int
    soft_stops: int
    postgres_restarts: int
    realtime_cuts: int
    store_pause_seconds: float
    store_kills: int
    lease_seconds: int = 4
    renew_seconds: float = 1.0
    concurrency: int = 3
    dry_seconds: float = 240.0
    """Patience for the last job to end, once the faults are over."""


FULL: Final = Plan(
    jobs=5000,
    users=40,
    waiting=400,
    listeners=8,
    gpus=4,
    listener_kills=310,
    gpu_kills=24,
    zombies=40,
    soft_stops=30,
    postgres_restarts=5,
    realtime_cuts=6,
    store_pause_seconds=20.0,
    store_kills=1,
)

QUICK: Final = Plan(
    jobs=120,
    users=8,
    waiting=60,
    listeners=4,
    gpus=2,
    listener_kills=8,
    gpu_kills=1,
    zombies=3,
    soft_stops=2,
    postgres_restarts=1,
    realtime_cuts=1,
    store_pause_seconds=2.0,
    store_kills=0,
    lease_seconds=3,
    dry_seconds=60.0,
)


def scaled(jobs: int) -> Plan:
    """The full plan with another number of jobs; kills and zombies keep their density."""
    share = jobs / FULL.jobs
    return replace(
        FULL,
        jobs=jobs,
        listener_kills=round(FULL.listener_kills * share),
        gpu_kills=round(FULL.gpu_kills * share),
        zombies=round(FULL.zombies * share),
        soft_stops=round(FULL.soft_stops * share),
    )
