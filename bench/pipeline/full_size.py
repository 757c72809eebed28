"""
`--full-size`: the same with SAM3's own 840 million parameters, random, once.

Ours is the real server in this process, asked over HTTP about one picture with sixteen prompts. The
plain example is asked two of them and scaled to sixteen, since it repeats the same work for each;
the masks of those two answers are compared. Then the servers stand side by side (full_grid.py).
"""

import time
from collections.abc import AsyncIterator, Sequence
from dataclasses import replace
from typing import Any, Final

import aiohttp
import torch
from aiohttp import web
from pydantic import SecretStr

from bench import report
from bench.pipeline import ceiling, equality, full_grid, pictures, stages
from bench.pipeline.bare import Bare
from bench.pipeline.contenders import KEY, ours_body
from bench.pipeline.models import Loaded, full_size
from bench.pipeline.plain import Plain, opened
from bench.pipeline.section import Part, new_table
from pipeline.server.app import create_app
from pipeline.settings import Settings
from s3_sam3.contracts.limits import MAX_PROMPTS_PER_TASK
from s3_sam3.contracts.manifest import Manifest, PromptResult
from s3_sam3.contracts.pipeline import Health, HealthAnswer, PredictRequest
from s3_sam3.contracts.prompts import Prompt, SegmentOptions


ASKED_PLAINLY: Final = 2
_OPTIONS: Final = SegmentOptions(threshold=0, max_instances=200)
"""Every query, for a random model is sure of nothing."""


async def measure(device: str) -> AsyncIterator[tuple[str, Part]]:
    """Build the model and yield each part when it is done; all take half an hour on a CPU."""
    loaded = full_size(device)
    dtype = "bfloat16" if device == "cuda" else "float32"
    image = pictures.photo(640, 11)
    prompts = tuple(Prompt(text=text) for text in pictures.words(MAX_PROMPTS_PER_TASK, 11))
    seconds, manifest = await _served(loaded, image, prompts, dtype)
    plain = Plain(loaded)
    picture = opened(image)
    begun = time.perf_counter()
    for prompt in prompts[:ASKED_PLAINLY]:
        plain.answer(image, [prompt.model_copy(update={"threshold": 0.0})])
    plainly = (time.perf_counter() - begun) / ASKED_PLAINLY * len(prompts)
    yield "prompts, full size", _prompts(seconds, plainly, dtype)
    yield "overhead, full size", _overhead(manifest)
    asked = equality.RandomRequest(picture=picture, prompts=prompts[:ASKED_PLAINLY])
    stock = [equality.expected(plain, picture, prompt) for prompt in asked.prompts]
    served = manifest.prompts[:ASKED_PLAINLY]
    if dtype == "float32":
        yield "equality, full size", _equality(served, stock)
    else:
        [results] = equality.together(equality.segmenter(loaded), [asked])
        yield "equality, full size", _equality(results, stock)
        # What was served in another precision stands beside it: stock in float32 is no target.
        other = _equality(served, stock)
        yield f"equality, full size, {dtype}", replace(other, targets=[])
    if device == "cuda":
        found = await stages.measure(loaded, sides=(640, 4032), rounds=5, dtype=dtype)
        yield "stages, full size", found
        yield "ceiling", _ceiling(loaded, image, dtype)
    yield "grid, full size", await full_grid.measure(loaded, device)


def _equality(results: Sequence[PromptResult], stock: Sequence[equality.Expected]) -> Part:
    compared = [
        equality.held_against(result, should, kind="text")
        for result, should in zip(results, stock, strict=True)
    ]
    return equality.summary(compared, f"{ASKED_PLAINLY} prompts, full size")


async def _served(
    loaded: Loaded, image: bytes, prompts: tuple[Prompt, ...], dtype: str
) -> tuple[float, Manifest]:
    """Seconds from the request to the answer, in our server."""
    settings = Settings(api_secret_key=SecretStr(KEY), pipeline_port=0, sam3_self_test="finite")
    app = create_app(settings, lambda: equality.segmenter(loaded, dtype=dtype))
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    try:
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        url = f"http://127.0.0.1:{runner.addresses[0][1]}"
        timeout = aiohttp.ClientTimeout(total=None)
        async with aiohttp.ClientSession(timeout=timeout) as http:
            status = Health.STARTING
            while status is Health.STARTING:
                async with http.get(f"{url}/health") as answer:
                    status = HealthAnswer.model_validate_json(await answer.read()).status
            request = PredictRequest(prompts=prompts, options=_OPTIONS, pictures=False)
            data, headers = ours_body(image, request)
            if dtype == "bfloat16":  # a GPU chooses its kernels the first time
                await _ask(http, url, data, headers)
            request = PredictRequest(
                prompts=prompts, options=_OPTIONS, scope="another", pictures=False
            )
            data, headers = ours_body(image, request)
            begun = time.perf_counter()
            content = await _ask(http, url, data, headers)
            seconds = time.perf_counter() - begun
    finally:
        await runner.cleanup()
    return seconds, Manifest.model_validate_json(content)


async def _ask(
    http: aiohttp.ClientSession, url: str, data: bytes, headers: dict[str, str]
) -> bytes:
    """Give the manifest's bytes: with `pictures=False` the answer's only part."""
    async with http.post(f"{url}/api/v1/predict", data=data, headers=headers) as answer:
        answer.raise_for_status()
        part = await aiohttp.MultipartReader.from_response(answer).next()
        assert isinstance(part, aiohttp.BodyPartReader)
        return bytes(await part.read())


def _prompts(ours: float, plain: float, dtype: str) -> Part:
    table = new_table(
        f"full size, {dtype}, {MAX_PROMPTS_PER_TASK} prompts on one picture, 200 objects each",
        *("ours through HTTP, s", f"plain example, s (from {ASKED_PLAINLY} prompts)", "ratio"),
    )
    table.add_row(f"{ours:.3g}", f"{plain:.3g}", f"{plain / ours:.2f}")
    target = report.Target(
        name=f"full size: {MAX_PROMPTS_PER_TASK} prompts on one picture, over the plain example",
        measured=plain / ours,
        limit=4,
        unit="x",
        at_least=True,
    )
    figures = {"ours_s": ours, "plain_s": plain, "ratio": plain / ours, "dtype": dtype}
    return Part(table=table, figures=figures, targets=[target])


def _overhead(manifest: Manifest) -> Part:
    """
    Measure the time outside of the model, for one request alone.

    A figure without a target: every query is an object of noise, 3,200 of them, and nothing
    overlaps with another request. `overhead` holds the throughput against its target.
    """
    timings = manifest.timings
    outside = 100 * (timings.total_ms - timings.model_ms) / timings.total_ms
    table = new_table(
        "full size, one request, from its bytes to its manifest",
        *("part", "ms"),
    )
    figures: dict[str, Any] = timings.model_dump()
    for name, milliseconds in figures.items():
        table.add_row(name.removesuffix("_ms"), f"{milliseconds:.1f}")
    table.add_row("outside the model", f"{outside:.2f} %")
    return Part(table=table, figures={**figures, "outside_percent": outside})


def _ceiling(loaded: Loaded, image: bytes, dtype: str) -> Part:
    bare = Bare(loaded, dtype=dtype)
    squares = bare.prepare([image]).expand(4, -1, -1, -1)
    table = new_table("the model alone, four pictures at once", *("prompts each", "figures"))
    figures = {}
    for count in (1, 10):
        texts = pictures.words(count, count)
        bare.run(squares, texts)
        torch.cuda.reset_peak_memory_stats()
        figures[f"{count} prompts"] = found = ceiling.achieved(bare, squares, texts)
        table.add_row(str(count), ", ".join(f"{name} {value:g}" for name, value in found.items()))
    return Part(table=table, figures=figures)
