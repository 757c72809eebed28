"""
Section `postprocess`: a hundred instances at 4032 x 4032, each side in fresh processes.

Stock needs about 20 GiB for a hundred, so it is measured with a few and scaled: it does the same
for each mask, all at once. On a machine with less memory to spare it would be slower than that.
"""

import asyncio
import json
import statistics
import sys
from dataclasses import dataclass
from typing import Any, Final

from bench import report
from bench.pipeline.masks_child import SIDE
from bench.pipeline.section import Part, cell, new_table, spread


INSTANCES: Final = 100
STOCK_INSTANCES: Final = 5
KINDS: Final = {
    "blobs": "blobs of 3 to 15 % of the side",
    "full": "each mask covers everything",
    "noise": "noise in every cell, the longest contours there can be",
}
_REPEATS: Final = 3
_GIB: Final = 2**30


@dataclass(frozen=True, slots=True, kw_only=True)
class Spent:
    """One side, one kind of masks, over all rounds; scaled to a hundred instances."""

    seconds: list[float]
    """Until run lengths are there."""
    masks_seconds: list[float]
    """Until masks are there; ours makes none."""
    extra_bytes: list[float]


async def measure(*, rounds: int, kinds: tuple[str, ...] = tuple(KINDS)) -> Part:
    """Run the children in turns, one at a time."""
    table = new_table(
        f"{INSTANCES} instances at {SIDE} x {SIDE}, one thread; stock scaled from"
        f" {STOCK_INSTANCES}: median (least to most)",
        *("masks", "ours, s", "stock, s", "stock to RLE, s", "x stock", "x to RLE"),
        *("ours, extra GiB", "stock, extra GiB"),
    )
    figures: dict[str, Any] = {}
    targets: list[report.Target] = []
    for kind in kinds:
        mine, theirs = await _turns(kind, rounds)
        pairs = list(zip(mine.seconds, theirs.masks_seconds, theirs.seconds, strict=True))
        faster = [cut / own for own, cut, _ in pairs]
        faster_to_rle = [whole / own for own, _, whole in pairs]
        memory = [[extra / _GIB for extra in side.extra_bytes] for side in (mine, theirs)]
        times = (mine.seconds, theirs.masks_seconds, theirs.seconds)
        table.add_row(
            kind, *map(cell, times), cell(faster), cell(faster_to_rle), *map(cell, memory)
        )
        figures[KINDS[kind]] = {
            "ours_seconds": spread(mine.seconds),
            "stock_seconds": spread(theirs.masks_seconds),
            "stock_seconds_to_run_lengths": spread(theirs.seconds),
            "times_faster": spread(faster),
            "times_faster_to_run_lengths": spread(faster_to_rle),
            "ours_extra_gib": spread(memory[0]),
            "stock_extra_gib": spread(memory[1]),
        }
        if kind == "blobs":
            targets = _targets(faster, memory[0])
    return Part(table=table, figures=figures, targets=targets)


def _targets(faster: list[float], memory: list[float]) -> list[report.Target]:
    return [
        report.Target(
            name="post-processing over stock's, whose masks are no run lengths yet",
            measured=statistics.median(faster),
            limit=8,
            unit="x",
            at_least=True,
        ),
        report.Target(
            name="post-processing, most memory beyond its inputs",
            measured=max(memory),
            limit=1,
            unit="GiB",
        ),
    ]


async def _turns(kind: str, rounds: int) -> tuple[Spent, Spent]:
    mine = Spent(seconds=[], masks_seconds=[], extra_bytes=[])
    theirs = Spent(seconds=[], masks_seconds=[], extra_bytes=[])
    for _ in range(rounds):
        for spent, who, count in ((mine, "ours", INSTANCES), (theirs, "stock", STOCK_INSTANCES)):
            found = await _child(who, kind, count, 1 if kind == "noise" else _REPEATS)
            scale = INSTANCES / count
            spent.extra_bytes.append(scale * found["extra_bytes"])
            spent.seconds.append(scale * statistics.median(t[-1] for t in found["seconds"]))
            spent.masks_seconds.append(scale * statistics.median(t[0] for t in found["seconds"]))
    return mine, theirs


async def _child(who: str, kind: str, count: int, repeats: int) -> Any:
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "bench.pipeline.masks_child", who, kind, str(count), str(repeats)),
        stdout=asyncio.subprocess.PIPE,
    )
    out, _ = await process.communicate()
    return json.loads(out)
