"""
Section `overhead`: the whole server, from a JPEG to run lengths in JSON, and the model alone.

On a CPU decoding and run lengths take the cores that the model wants, which on a GPU they do not;
so the share of processor time stands beside the share of throughput.

The difference is small, and a machine that others share changes its speed by more than that within
a minute. So the turns are short and many, who begins changes with each, and a turn's two rates are
compared with each other alone.
"""

import statistics
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import torch

from bench import report
from bench.pipeline import asking, contenders, load, models
from bench.pipeline.bare import Bare
from bench.pipeline.plain import Plain
from bench.pipeline.section import Part, cell, new_table, spread
from bench.webhooks import processor


OBJECTS: Final = 1
"""Of each prompt. A random model's mask is noise, as long in run lengths as twenty real ones."""

PROMPTS: Final = 4
CLIENTS: Final = 4
LIMIT: Final = 5.0


@dataclass(frozen=True, slots=True, kw_only=True)
class _Alone:
    """One turn of the model without a server."""

    rate: float
    """Pictures per second."""
    cpu: float
    """Processor seconds for one picture."""


async def measure(folder: Path, device: str, *, count: int, rounds: int) -> Part:
    """The same pictures by both, in turns."""
    loaded = models.load(folder, device)
    bare = Bare(loaded, dtype="bfloat16" if device == "cuda" else "float32")
    asked = asking.questions(
        Plain(loaded).scores, count=4, prompts=PROMPTS, objects=OBJECTS, side=640, seed=5
    )
    # The same texts for all, so that each side has read them after its first picture.
    asked = [asking.Question(image=one.image, prompts=asked[0].prompts) for one in asked]
    texts = [prompt.text or "" for prompt in asked[0].prompts]
    squares = bare.prepare([asked[number % len(asked)].image for number in range(count)])
    served: list[load.Lap] = []
    alone: list[_Alone] = []
    busy: list[float] = []
    async with contenders.ours(folder, device) as server:
        await load.drive(
            server, asking.bodies(server, asked, count=CLIENTS, first=0), clients=CLIENTS
        )
        bare.run(squares[:1], texts)
        for turn in range(1, rounds + 1):
            if turn % 2:
                alone.append(_alone(bare, squares, texts))
            bodies = asking.bodies(server, asked, count=count, first=turn * 1000)
            before = processor.seconds(server.pid) + processor.seconds_below(server.pid)
            served.append(await load.drive(server, bodies, clients=CLIENTS))
            after = processor.seconds(server.pid) + processor.seconds_below(server.pid)
            busy.append((after - before) / count)
            if not turn % 2:
                alone.append(_alone(bare, squares, texts))
    parameters = sum(parameter.numel() for parameter in loaded.model.parameters())
    return _part(served, busy, alone, parameters)


def _alone(bare: Bare, squares: torch.Tensor, texts: list[str]) -> _Alone:
    """Measure the model alone once."""
    begun, busy = time.perf_counter(), time.process_time()
    bare.run(squares, texts)
    return _Alone(
        rate=len(squares) / (time.perf_counter() - begun),
        cpu=(time.process_time() - busy) / len(squares),
    )


def _part(served: list[load.Lap], busy: list[float], alone: list[_Alone], parameters: int) -> Part:
    rates, bare_rates = [lap.rate for lap in served], [turn.rate for turn in alone]
    lost = [100 * (1 - a / b) for a, b in zip(rates, bare_rates, strict=True)]
    added = [1000 * (a - b.cpu) for a, b in zip(busy, alone, strict=True)]
    table = new_table(
        f"{parameters / 1e6:.0f} M parameters, {PROMPTS} prompts, 640 x 480, {CLIENTS} requests at"
        f" once, {torch.get_num_threads()} threads: median (least to most)",
        *("server, images/s", "model alone, images/s", "throughput lost, %", "CPU added, ms/image"),
    )
    table.add_row(cell(rates), cell(bare_rates), cell(lost), cell(added))
    figures: dict[str, Any] = {
        "parameters": parameters,
        "server_images_per_second": spread(rates),
        "bare_images_per_second": spread(bare_rates),
        "lost_percent": spread(lost),
        "server_cpu_ms": spread([1000 * seconds for seconds in busy]),
        "bare_cpu_ms": spread([1000 * turn.cpu for turn in alone]),
        "added_cpu_ms": spread(added),
    }
    target = report.Target(
        name="throughput that the pipeline costs around the model",
        measured=statistics.median(lost),
        limit=LIMIT,
        unit="%",
    )
    return Part(table=table, figures=figures, targets=[target])
