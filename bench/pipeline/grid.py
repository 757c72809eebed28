"""
Section `grid`: images per second and waits by prompts, objects, size and concurrent requests.

One of the four is varied at a time. The plain example has no server: it does one picture after the
other, whatever the number of clients.
"""

import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from bench.pipeline import asking, load
from bench.pipeline.contenders import Server
from bench.pipeline.load import Lap
from bench.pipeline.plain import Plain
from bench.pipeline.section import Part, new_table


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """What is asked, and how many ask at once."""

    prompts: int = 1
    objects: int = 10
    side: int = 640
    clients: int = 1

    @property
    def name(self) -> str:
        """Say all four."""
        return (
            f"{self.prompts} prompts, {self.objects} objects, {self.side} px,"
            f" {self.clients} at once"
        )


_BASE = Case()
CASES = (
    _BASE,
    *(replace(_BASE, prompts=prompts) for prompts in (4, 16)),
    *(replace(_BASE, objects=objects) for objects in (1, 50, 200)),
    *(replace(_BASE, side=side) for side in (2048, 4032)),
    *(replace(_BASE, clients=clients) for clients in (4, 16)),
)
QUICK = (_BASE, replace(_BASE, clients=16))


@dataclass(frozen=True, slots=True, kw_only=True)
class Effort:
    """How often each case is asked."""

    requests: int
    """Of each contender; fewer of what takes long."""
    least: int = 4
    """For each client, however long it takes."""
    pictures: int = 4
    warm: bool = True
    """Whether requests that are not counted go first."""


async def measure(
    plain: Plain,
    ours: Server,
    litserve: Server,
    *,
    cases: Sequence[Case],
    effort: Effort,
    scores: asking.Scores | None = None,
) -> Part:
    """Ask all contenders the same, case by case. *scores*: as `asking.questions` needs them."""
    table = new_table(
        "images/s, p50 and p95 in ms",
        *("case", "ours", "ours with pictures", "plain example", "LitServe", "over LitServe's"),
    )
    figures: dict[str, Any] = {}
    first = 0
    for case in cases:
        requests = _count(case, effort)
        asked = asking.questions(
            scores or plain.scores,
            count=effort.pictures,
            prompts=case.prompts,
            objects=case.objects,
            side=case.side,
            seed=case.prompts,
        )
        laps: dict[str, Lap] = {}
        for name, server, drawn in (
            ("ours", ours, False),
            ("ours with pictures", ours, True),
            ("LitServe", litserve, False),
        ):
            if effort.warm:
                warm = asking.bodies(server, asked, count=case.clients, first=first, drawn=drawn)
                await load.drive(server, warm, clients=case.clients)
                first += case.clients
            bodies = asking.bodies(server, asked, count=requests, first=first, drawn=drawn)
            first += requests
            laps[name] = await load.drive(server, bodies, clients=case.clients)
        laps["plain example"] = _plainly(plain, asked, max(1, requests // 2))
        columns = ("ours", "ours with pictures", "plain example", "LitServe")
        ratio = laps["ours"].rate / laps["LitServe"].rate
        table.add_row(case.name, *(_cell(laps[name]) for name in columns), f"{ratio:.2f}")
        figures[case.name] = {name: laps[name].figures() for name in columns}
    return Part(table=table, figures=figures)


def _count(case: Case, effort: Effort) -> int:
    """Fewer of what takes long; for each client at least so many."""
    weight = max(case.prompts, case.objects // 20, case.side // 640)
    return max(effort.requests // weight, effort.least * case.clients)


def _plainly(plain: Plain, asked: Sequence[asking.Question], count: int) -> Lap:
    waits = []
    begun = time.perf_counter()
    for number in range(count):
        one = asked[number % len(asked)]
        started = time.perf_counter()
        plain.answer(one.image, one.prompts)
        waits.append(1000 * (time.perf_counter() - started))
    return Lap(seconds=time.perf_counter() - begun, waits=tuple(waits))


def _cell(lap: Lap) -> str:
    figures = lap.figures()
    return f"{lap.rate:.3g}  {figures['p50_ms']:.0f}  {figures['p95_ms']:.0f}"
