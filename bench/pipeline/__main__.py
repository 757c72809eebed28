"""
The pipeline, side by side with the plain transformers example and with a LitServe server.

    python -m bench.pipeline [--quick] [--full-size] [--device D] [--only SECTION] [--json FILE]

Random weights: models as tiny as the demo's, with its 16 queries or with SAM3's 200, and a middle
one for `overhead`. See the modules' first lines for what each section does and how.
"""

import argparse
import asyncio
import os
import signal
import tempfile
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from rich.console import Console

from bench import report
from bench.pipeline.section import Part


# As the server does, before torch is loaded: threads that spin while they wait take the cores.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

SECTIONS: Final = ("server", "prompts", "grid", "overhead", "postprocess", "equality", "stages")
IN_A_MINUTE: Final = ("server", "prompts", "postprocess", "equality")
"""What `--quick` measures unless `--only` asks for more."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """How much of everything."""

    crowd: int
    """Requests of one prompt in one turn of `server`."""
    rounds: int
    grid: int
    """Requests of one case."""
    overhead: tuple[int, int]
    """Pictures in a turn, and turns."""
    pictures: int
    quick: bool


WHOLE: Final = Plan(crowd=192, rounds=5, grid=48, overhead=(8, 17), pictures=100, quick=False)
QUICK: Final = Plan(crowd=64, rounds=1, grid=8, overhead=(4, 1), pictures=4, quick=True)


def main() -> int:
    """Measure, print, and return the exit code."""
    parser = argparse.ArgumentParser(prog="python -m bench.pipeline", description=__doc__)
    parser.add_argument(
        "--quick", action="store_true", help=f"less of {', '.join(IN_A_MINUTE)}, in under a minute"
    )
    parser.add_argument(
        "--full-size", action="store_true", help="840 M random parameters, and nothing else"
    )
    parser.add_argument("--device", choices=("cpu", "cuda"), default="cpu")
    parser.add_argument("--only", choices=SECTIONS, action="append", help="may be repeated")
    parser.add_argument("--json", type=Path)
    asked = parser.parse_args()
    return asyncio.run(_measure(asked))


async def _measure(asked: argparse.Namespace) -> int:
    if task := asyncio.current_task():
        # A benchmark that is told to end takes the servers it started with it.
        asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, task.cancel)
    console = Console()
    plan = QUICK if asked.quick else WHOLE
    if asked.full_size:
        parts = _full_size(asked.device)
    else:
        unless_asked = IN_A_MINUTE if asked.quick else SECTIONS
        parts = _parts(plan, asked.device, set(asked.only or unless_asked))
    targets: list[report.Target] = []
    figures = {"device": asked.device}
    table = None
    async for name, part in parts:
        if table:
            console.print(table)
        table, figures[name] = part.table, part.figures
        targets += part.targets
    assert table is not None
    return report.finish("pipeline", table=table, targets=targets, figures=figures, to=asked.json)


async def _full_size(device: str) -> AsyncIterator[tuple[str, Part]]:
    from bench.pipeline import full_size

    async for name, part in full_size.measure(device):
        yield name, part


async def _parts(plan: Plan, device: str, wanted: set[str]) -> AsyncIterator[tuple[str, Part]]:
    """The sections, in an order that lets two share their servers."""
    import torch

    from bench.pipeline import equality, masks, models, overhead, stages

    all_threads = torch.get_num_threads()
    with tempfile.TemporaryDirectory(prefix="s3-bench-") as root:
        tiny = models.build(Path(root) / "tiny", models.TINY)
        crowded = models.build(Path(root) / "crowded", models.CROWDED)
        if device == "cpu":
            torch.set_num_threads(1)  # as ours has it for so small a model
        async for name, part in _served(plan, device, wanted, tiny, crowded):
            yield name, part
        if "equality" in wanted:
            found = equality.measure(models.load(tiny, device), count=plan.pictures)
            yield "equality", found
        if "postprocess" in wanted:
            kinds = ("blobs",) if plan.quick else tuple(masks.KINDS)
            yield "postprocess", await masks.measure(rounds=plan.rounds, kinds=kinds)
        if "stages" in wanted:
            sides = (640,) if plan.quick else (640, 2048, 4032)
            yield (
                "stages",
                await stages.measure(
                    models.load(crowded, device), sides=sides, rounds=plan.rounds, dtype="float32"
                ),
            )
        if "overhead" in wanted:
            torch.set_num_threads(all_threads)
            middle = models.build(Path(root) / "middle", models.MIDDLE)
            count, turns = plan.overhead
            yield "overhead", await overhead.measure(middle, device, count=count, rounds=turns)


async def _served(
    plan: Plan, device: str, wanted: set[str], tiny: Path, crowded: Path
) -> AsyncIterator[tuple[str, Part]]:
    """What the servers are asked."""
    from bench.pipeline import contenders, crowd, grid, many_prompts, models, rivals
    from bench.pipeline.plain import Plain

    plain = Plain(models.load(tiny, device))
    untried = rivals.Choice(workers=2 if device == "cpu" else 1, batch=16, rates={})
    choice = untried
    if "server" in wanted:
        part, choice = await crowd.measure(
            plain,
            tiny,
            device,
            prompts=(1,) if plan.quick else (1, 4),
            count=plan.crowd,
            rounds=plan.rounds,
            choice=untried if plan.quick else None,
        )
        yield "server", part
    for name, folder in (("prompts", tiny), ("prompts, 200 queries", crowded)):
        if "prompts" in wanted and not (plan.quick and folder is crowded):
            async with contenders.ours(folder, device) as ours:
                yield (
                    name,
                    await many_prompts.measure(
                        Plain(models.load(folder, device)),
                        ours,
                        name=name,
                        rounds=3 * plan.rounds,
                        has_target=folder is tiny,
                    ),
                )
    if "grid" in wanted:
        cases = grid.QUICK if plan.quick else grid.CASES
        plain = Plain(models.load(crowded, device))
        async with rivals.both(crowded, device, choice, threads=1) as (ours, litserve):
            effort = grid.Effort(requests=plan.grid)
            yield "grid", await grid.measure(plain, ours, litserve, cases=cases, effort=effort)


if __name__ == "__main__":
    raise SystemExit(main())
