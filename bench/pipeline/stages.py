"""Section `stages`: the time of each stage of one picture, one after the other."""

import asyncio
import statistics
import time
from collections.abc import Callable
from typing import Any, Final, TypeVar

import torch

from bench.pipeline import asking, pictures
from bench.pipeline.equality import segmenter
from bench.pipeline.models import Loaded
from bench.pipeline.plain import Plain
from bench.pipeline.section import Part, new_table
from pipeline.decode.pool import DecodePool
from pipeline.model.segmentation_model import RequestContext, find
from s3_sam3.contracts.manifest import ImageSize, Manifest, Timings
from s3_sam3.imaging import label_map, overlay


Result = TypeVar("Result")

PROMPTS: Final = 4
OBJECTS: Final = 10


async def measure(loaded: Loaded, *, sides: tuple[int, ...], rounds: int, dtype: str) -> Part:
    """Time each stage of pictures of these sizes."""
    columns = {side: await _times(loaded, side, rounds, dtype) for side in sides}
    table = new_table(
        f"ms per stage, {PROMPTS} prompts, {OBJECTS} objects each, alone: medians",
        *("stage", *(f"{'x'.join(map(str, pictures.SIZES[side]))}" for side in sides)),
    )
    for stage in columns[sides[0]]:
        table.add_row(stage, *(f"{columns[side][stage]:.2f}" for side in sides))
    figures = {f"{side} px": times for side, times in columns.items()}
    return Part(table=table, figures=figures)


async def _times(loaded: Loaded, side: int, rounds: int, dtype: str) -> dict[str, float]:
    asked = asking.questions(
        Plain(loaded).scores, count=rounds + 1, prompts=PROMPTS, objects=OBJECTS, side=side, seed=3
    )
    laps = []
    async with DecodePool(1) as pool:
        for one in asked:
            ours = segmenter(loaded, dtype=dtype)  # one that remembers nothing
            laps.append(await asyncio.wait_for(_lap(ours, pool, one), None))
    return {stage: round(statistics.median(lap[stage] for lap in laps[1:]), 3) for stage in laps[0]}


async def _lap(ours: Any, pool: DecodePool, one: asking.Question) -> dict[str, float]:
    times: dict[str, float] = {}

    def timed(stage: str, work: Callable[[], Result]) -> Result:
        begun = time.perf_counter()
        result = work()
        if torch.cuda.is_available():
            torch.cuda.synchronize()
        times[stage] = 1000 * (time.perf_counter() - begun)
        return result

    begun = time.perf_counter()
    picture, frames = await pool.decode(one.image)
    times["decode, in a child"] = 1000 * (time.perf_counter() - begun)
    request = timed(
        "prepare: tokens, square",
        lambda: ours.prepare(picture, one.prompts, asking.OPTIONS, RequestContext()),
    )
    timed("model: texts, vision, heads", lambda: find(ours, request))
    results = timed("trace: masks to run lengths", lambda: ours.trace(request))
    width, height = picture.size
    manifest = Manifest(
        image=ImageSize(width=width, height=height, frames=frames),
        model=ours.info,
        timings=Timings(decode_ms=0, model_ms=0, post_ms=0, total_ms=0),
        options=asking.OPTIONS,
        prompts=results,
    )
    timed("manifest to JSON", manifest.model_dump_json)
    labels = timed("label map", lambda: label_map.label_map(results, width, height))
    timed("mask.png", lambda: label_map.mask_png(labels))
    timed("overlay.webp", lambda: overlay.overlay_webp(picture, labels, results, demo=False))
    return times
