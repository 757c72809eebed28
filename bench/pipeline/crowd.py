"""Section `server`: 32 clients at once, ours and LitServe in turns."""

import statistics
from pathlib import Path
from typing import Any, Final

from bench import report
from bench.pipeline import asking, load, rivals
from bench.pipeline.load import Lap
from bench.pipeline.plain import Plain
from bench.pipeline.section import Part, cell, new_table, spread


OBJECTS: Final = 10
"""Found by each prompt."""

LIMIT: Final = 1.3


async def measure(
    plain: Plain,
    weights: Path,
    device: str,
    *,
    prompts: tuple[int, ...],
    count: int,
    rounds: int,
    choice: rivals.Choice | None = None,
) -> tuple[Part, rivals.Choice]:
    """Send the same requests to both, in turns; without a choice, choose LitServe's settings."""
    table = new_table(
        f"{rivals.CLIENTS} clients, 640 x 480, {OBJECTS} objects a prompt: median (least to most)",
        *("prompts", "ours, images/s", "LitServe, images/s", "ratio", "ours p95", "LitServe p95"),
        *("ours with label map and overlay", "ratio"),
    )
    figures: dict[str, Any] = {}
    targets: list[report.Target] = []
    for number in prompts:
        asked = asking.questions(
            plain.scores, count=16, prompts=number, objects=OBJECTS, side=640, seed=number
        )
        if choice is None:
            choice = await rivals.best(weights, device, asked, threads=1)
        mine, theirs, drawn = await _turns(weights, device, choice, asked, count // number, rounds)
        ratios = [a.rate / b.rate for a, b in zip(mine, theirs, strict=True)]
        drawn_ratios = [a.rate / b.rate for a, b in zip(drawn, theirs, strict=True)]
        table.add_row(
            str(number),
            *(cell([lap.rate for lap in laps]) for laps in (mine, theirs)),
            cell(ratios),
            *(cell([lap.figures()["p95_ms"] for lap in laps], " ms") for laps in (mine, theirs)),
            *(cell([lap.rate for lap in drawn]), cell(drawn_ratios)),
        )
        figures[f"{number} prompts"] = {
            "ours": _figures(mine),
            "ours, with label map and overlay": _figures(drawn),
            "LitServe": _figures(theirs),
            "ratio": spread(ratios),
            "ratio, with label map and overlay": spread(drawn_ratios),
        }
        targets.append(_target(number, ratios))
    assert choice is not None
    figures["LitServe's settings"] = {
        "workers": choice.workers,
        "batch": choice.batch,
        "images_per_second": choice.rates,
    }
    return Part(table=table, figures=figures, targets=targets), choice


def _target(prompts: int, ratios: list[float]) -> report.Target:
    return report.Target(
        name=f"images/s over LitServe's, {rivals.CLIENTS} clients, {prompts} prompts each",
        measured=statistics.median(ratios),
        limit=LIMIT,
        unit="x",
        at_least=True,
    )


async def _turns(
    weights: Path,
    device: str,
    choice: rivals.Choice,
    asked: list[asking.Question],
    count: int,
    rounds: int,
) -> tuple[list[Lap], list[Lap], list[Lap]]:
    mine: list[Lap] = []
    theirs: list[Lap] = []
    drawn: list[Lap] = []
    async with rivals.both(weights, device, choice, threads=1) as (ours, litserve):
        for server in (ours, litserve):
            await load.drive(server, asking.bodies(server, asked, count=16, first=0), clients=4)
        for turn in range(1, rounds + 1):
            first = turn * 10 * count
            for server, drawing, laps in (
                (ours, False, mine),
                (litserve, False, theirs),
                (ours, True, drawn),
            ):
                some = asking.bodies(server, asked, count=count, first=first, drawn=drawing)
                laps.append(await load.drive(server, some, clients=rivals.CLIENTS))
                first += count
    return mine, theirs, drawn


def _figures(laps: list[Lap]) -> dict[str, Any]:
    return {
        "images_per_second": spread([lap.rate for lap in laps]),
        "p50_ms": spread([lap.figures()["p50_ms"] for lap in laps]),
        "p95_ms": spread([lap.figures()["p95_ms"] for lap in laps]),
        "refused": sum(lap.refused for lap in laps),
    }
