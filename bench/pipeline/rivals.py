"""
The servers of a run, side by side, and which settings of LitServe are fastest.

LitServe is tried with one and two workers, with batches and without, under the same load as it is
measured with afterwards; the fastest stays. Its queue is the fast one (ZeroMQ), its timeout is off.
On a GPU a second worker is a second model in the same memory, so one is tried there.
"""

import contextlib
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from bench.pipeline import asking, contenders, load
from bench.pipeline.asking import Question
from bench.pipeline.contenders import Server


CLIENTS: Final = 32
_TRIAL: Final = 64
_SETTINGS: Final = {"cpu": ((1, 1), (1, 16), (2, 1), (2, 16)), "cuda": ((1, 1), (1, 16))}
"""Workers and largest batch."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Choice:
    """LitServe's best settings here, and what the others did."""

    workers: int
    batch: int
    rates: dict[str, float]
    """Pictures per second by settings."""


async def best(
    weights: Path, device: str, asked: list[Question], *, threads: int, trial: int = _TRIAL
) -> Choice:
    """Try LitServe's settings."""
    rates = {}
    for workers, batch in _SETTINGS[device]:
        async with contenders.litserve(
            weights, device, workers=workers, batch=batch, threads=threads
        ) as server:
            await load.drive(server, asking.bodies(server, asked, count=16, first=0), clients=4)
            many = asking.bodies(server, asked, count=trial, first=0)
            rates[workers, batch] = (await load.drive(server, many, clients=CLIENTS)).rate
    workers, batch = max(rates, key=lambda settings: rates[settings])
    return Choice(
        workers=workers,
        batch=batch,
        rates={f"{w} workers, batches of {b}": round(rate, 2) for (w, b), rate in rates.items()},
    )


@contextlib.asynccontextmanager
async def both(
    weights: Path, device: str, choice: Choice, *, threads: int
) -> AsyncIterator[tuple[Server, Server]]:
    """Ours and LitServe, both running and warm; only one is asked at a time."""
    async with (
        contenders.ours(weights, device) as mine,
        contenders.litserve(
            weights, device, workers=choice.workers, batch=choice.batch, threads=threads
        ) as theirs,
    ):
        yield mine, theirs
