"""
`python -m bench.chaos.fake_gpu PORT KEY MEMORY_MB`: the pipeline's contract without a model.

The answer is made of the picture's bytes and the prompts' words, so that an auditor can say of any
manifest whether it answers its own task. The words choose the fault: `bad` and `flaky` and `oom`
fail, `big` needs more memory than most have, `slow` outlives a lease, `silent` hangs up. It tells
how many prompts it is done with, as a real one does, so that a cancel half-way costs half.
"""

import asyncio
import hashlib
import random
import sys
from typing import Final

from aiohttp import web

from pipeline.server import forms
from s3_sam3.contracts import manifest, pipeline
from s3_sam3.contracts.errors import FACTS, ErrorCode


MODEL: Final = manifest.ModelInfo(
    name="chaos", revision="c0ffee", dtype="float32", device="cpu", code_version="0", demo=True
)
SLOW_SECONDS: Final = (3.0, 5.0)
USUAL_SECONDS: Final = (0.02, 0.25)
BIG_MB: Final = 48 * 1024
"""Memory that `big` needs."""
FAULTS: Final = {
    "bad": ErrorCode.INVALID_IMAGE,
    "flaky": ErrorCode.PIPELINE_FAILED,
    "oom": ErrorCode.OUT_OF_MEMORY,
}


def score(picture: bytes, text: str) -> float:
    """What this model must answer for *text* in *picture*: 0 to 1."""
    digest = hashlib.sha256(picture + b"\0" + text.encode()).digest()
    return int.from_bytes(digest[:4], "big") / 2**32


def answer(picture: bytes, asked: pipeline.PredictRequest) -> manifest.Manifest:
    """One instance per prompt, with its score."""
    return manifest.Manifest(
        image=manifest.ImageSize(width=4, height=3),
        model=MODEL,
        timings=manifest.Timings(decode_ms=1, model_ms=2, post_ms=3, total_ms=6),
        prompts=tuple(
            manifest.PromptResult(
                id=prompt.id or "",
                text=prompt.text,
                presence=1,
                truncated=False,
                instances=(_instance(place + 1, score(picture, prompt.text or "")),),
            )
            for place, prompt in enumerate(asked.prompts)
        ),
    )


def _instance(label: int, how_sure: float) -> manifest.Instance:
    rle = manifest.Rle(size=(3, 4), counts="0")
    return manifest.Instance(label=label, score=how_sure, box=(0, 0, 1, 1), area=1, rle=rle)


async def _health(request: web.Request) -> web.Response:
    body = pipeline.HealthAnswer(status=pipeline.Health.READY, model=model(request.app[MEMORY_MB]))
    return web.json_response(text=body.model_dump_json())


async def _info(request: web.Request) -> web.Response:
    if request.headers.get(pipeline.API_KEY_HEADER) != request.app[KEY]:
        return web.json_response({"error": {"code": "unauthenticated"}}, status=401)
    return web.json_response(text=model(request.app[MEMORY_MB]).model_dump_json())


async def _progress(request: web.Request) -> web.Response:
    computed = request.app[UNDER_WAY].get(request.match_info["name"])
    if computed is None:
        return web.json_response({"error": {"code": "not_found"}}, status=404)
    return web.json_response(text=pipeline.PredictProgress(computed=computed).model_dump_json())


async def _compute(request: web.Request, asked: pipeline.PredictRequest, seconds: float) -> None:
    """Take the time, prompt by prompt, and tell of it."""
    under_way = request.app[UNDER_WAY]
    name = request.headers.get(pipeline.REQUEST_ID_HEADER, "")
    try:
        for done in range(len(asked.prompts)):
            under_way[name] = done
            await asyncio.sleep(seconds / len(asked.prompts))
    finally:
        under_way.pop(name, None)


async def _predict(request: web.Request) -> web.Response:
    form = await request.post()
    sent, image = form[pipeline.REQUEST_PART], form[pipeline.IMAGE_PART]
    body = bytes(sent) if isinstance(sent, bytearray) else str(sent).encode()
    picture = image.file.read() if isinstance(image, web.FileField) else b""
    asked = pipeline.PredictRequest.model_validate_json(body)
    word = (asked.prompts[0].text or "").partition(" ")[0]
    seconds = random.uniform(*(SLOW_SECONDS if word == "slow" else USUAL_SECONDS))
    await _compute(request, asked, seconds)
    if word == "silent" and random.random() < 0.5 and request.transport is not None:
        request.transport.abort()
    code = FAULTS.get(word)
    if word == "big" and request.app[MEMORY_MB] < BIG_MB:
        code = ErrorCode.OUT_OF_MEMORY
    if code is not None and (word != "flaky" or random.random() < 0.5):
        error = {"code": code, "message": "as the words asked", "retryable": False}
        return web.json_response({"error": error}, status=FACTS[code].status)
    found = answer(picture, asked).model_dump_json().encode()
    return forms.answer(found, mask_png=b"mask", overlay_webp=b"overlay")


KEY: Final = web.AppKey("key", str)
MEMORY_MB: Final = web.AppKey("memory_mb", int)
UNDER_WAY: Final = web.AppKey("under_way", dict[str, int])
"""Name of a request -> prompts done."""


def model(memory_mb: int) -> manifest.ModelInfo:
    """What a GPU of that size says of itself."""
    return MODEL.model_copy(update={"memory_mb": memory_mb})


def application(key: str, memory_mb: int) -> web.Application:
    """A GPU of that size."""
    app = web.Application()
    app[KEY] = key
    app[MEMORY_MB] = memory_mb
    app[UNDER_WAY] = {}
    app.router.add_get("/health", _health)
    app.router.add_get("/api/v1/model/info", _info)
    app.router.add_get("/api/v1/progress/{name}", _progress)
    app.router.add_post("/api/v1/predict", _predict)
    return app


def main() -> None:
    """Serve until killed."""
    app = application(sys.argv[2], int(sys.argv[3]))
    web.run_app(app, host="127.0.0.1", port=int(sys.argv[1]), print=None, access_log=None)


if __name__ == "__main__":
    main()
