"""
Section `overhead`: the whole server, from a JPEG to run lengths in JSON, and the model alone.

On a CPU decoding and run lengths take the cores that the model wants, which on a GPU they do not;
so the share of processor time stands beside the share of throughput.
"""

import statistics
import time
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


async def measure(folder: Path, device: str, *, count: int, rounds: int) -> Part:
    """The same pictures by both, in turns."""
    loaded = models.load(folder, device)
    bare = Bare(loaded, dtype="bfloat16" if device == "cuda" else "float32")
    asked = asking.questions(
        Plain(loaded), count=4, prompts=PROMPTS, objects=OBJECTS, side=640, seed=5
    )
    # The same texts for all, so that each side has read them after its first picture.
    asked = [asking.Question(image=one.image, prompts=asked[0].prompts) for one in asked]
    texts = [prompt.text or "" for prompt in asked[0].prompts]
    squares = bare.prepare([asked[number % len(asked)].image for number in range(count)])
    served: list[load.Lap] = []
    alone: list[float] = []
    cpu: list[tuple[float, float]] = []
    async with contenders.ours(folder, device) as door:
        await load.drive(door, asking.bodies(door, asked, count=CLIENTS, first=0), clients=CLIENTS)
        bare.run(squares[:1], texts)
        for turn in range(1, rounds + 1):
            bodies = asking.bodies(door, asked, count=count, first=turn * 1000)
            before = processor.seconds(door.pid) + processor.seconds_below(door.pid)
            served.append(await load.drive(door, bodies, clients=CLIENTS))
            after = processor.seconds(door.pid) + processor.seconds_below(door.pid)
            begun, busy = time.perf_counter(), time.process_time()
            bare.run(squares, texts)
            alone.append(count / (time.perf_counter() - begun))
            cpu.append(((after - before) / count, (time.process_time() - busy) / count))
    parameters = sum(parameter.numel() for parameter in loaded.model.parameters())
    return _part(served, alone, cpu, parameters)


def _part(
    served: list[load.Lap], alone: list[float], cpu: list[tuple[float, float]], parameters: int
) -> Part:
    rates = [lap.rate for lap in served]
    lost = [100 * (1 - a / b) for a, b in zip(rates, alone, strict=True)]
    added = [1000 * (a - b) for a, b in cpu]
    table = new_table(
        f"{parameters / 1e6:.0f} M parameters, {PROMPTS} prompts, 640 x 480, {CLIENTS} requests at"
        f" once, {torch.get_num_threads()} threads: median (least to most)",
        *("server, images/s", "model alone, images/s", "throughput lost, %", "CPU added, ms/image"),
    )
    table.add_row(cell(rates), cell(alone), cell(lost), cell(added))
    figures: dict[str, Any] = {
        "parameters": parameters,
        "server_images_per_second": spread(rates),
        "bare_images_per_second": spread(alone),
        "lost_percent": spread(lost),
        "server_cpu_ms": spread([1000 * a for a, _ in cpu]),
        "bare_cpu_ms": spread([1000 * b for _, b in cpu]),
        "added_cpu_ms": spread(added),
    }
    target = report.Target(
        name="throughput that the pipeline costs around the model",
        measured=statistics.median(lost),
        limit=LIMIT,
        unit="%",
    )
    return Part(table=table, figures=figures, targets=[target])
