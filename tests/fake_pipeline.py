"""A pipeline without a model: the internal contract, answered at once or when told to."""

import asyncio

from aiohttp import web

from contracts import manifest, pipeline
from contracts.errors import FACTS, ErrorCode


API_KEY = "a-key-between-listener-and-pipeline"
PICTURE = b"the pipeline is a fake and decodes nothing"
MASK, OVERLAY = b"\x89PNG mask", b"RIFF overlay"


class FakePipeline:
    """An aiohttp server whose health, answers and delays a test decides."""

    def __init__(self) -> None:
        self.health = pipeline.Health.READY
        self.health_asked = 0
        self.asked: list[pipeline.PredictRequest] = []
        self.gate = asyncio.Event()
        self.gate.set()
        self.refusal: ErrorCode | None = None
        self.hang_up = False
        self.api_key = API_KEY
        self.port = 0
        self._runner: web.AppRunner | None = None

    async def start(self) -> None:
        """Listen, on the same port as before."""
        app = web.Application()
        app.add_routes(
            [
                web.get("/health", self._health),
                web.get("/api/v1/model/info", self._info),
                web.post("/api/v1/predict", self._predict),
            ]
        )
        self._runner = web.AppRunner(app, shutdown_timeout=0.1)
        await self._runner.setup()
        await web.TCPSite(self._runner, "127.0.0.1", self.port).start()
        self.port = self._runner.addresses[0][1]

    async def stop(self) -> None:
        """Listen no more; requests under way are cut."""
        if self._runner is not None:
            await self._runner.cleanup()
            self._runner = None

    async def _health(self, _request: web.Request) -> web.Response:
        self.health_asked += 1
        return web.json_response({"status": self.health})

    async def _info(self, request: web.Request) -> web.Response:
        if request.headers[pipeline.API_KEY_HEADER] != self.api_key:
            return web.json_response({"error": {"code": "unauthenticated"}}, status=401)
        return web.json_response({})

    async def _predict(self, request: web.Request) -> web.Response:
        form = await request.post()
        sent, picture = form[pipeline.REQUEST_PART], form[pipeline.IMAGE_PART]
        assert isinstance(sent, bytearray)
        assert isinstance(picture, web.FileField)
        assert picture.file.read() == PICTURE
        asked = pipeline.PredictRequest.model_validate_json(bytes(sent))
        self.asked.append(asked)
        await self.gate.wait()
        if self.hang_up:
            assert request.transport is not None
            request.transport.abort()
        if self.refusal is not None:
            error = {"code": self.refusal, "message": "refused by the fake"}
            return web.json_response({"error": error}, status=FACTS[self.refusal].status)
        return web.json_response(text=predicted(asked).model_dump_json())


def predicted(asked: pipeline.PredictRequest) -> pipeline.PredictAnswer:
    """An answer with one instance per prompt."""
    answer = manifest.Manifest(
        image=manifest.ImageSize(width=4, height=3),
        model=manifest.ModelInfo(
            name="fake", revision="0", dtype="float32", device="cpu", code_version="0", demo=True
        ),
        timings=manifest.Timings(decode_ms=1, model_ms=2, post_ms=3, total_ms=6),
        prompts=tuple(
            manifest.PromptResult(
                id=prompt.id or "",
                text=prompt.text,
                presence=1,
                truncated=False,
                instances=(_instance(number + 1),),
            )
            for number, prompt in enumerate(asked.prompts)
        ),
    )
    return pipeline.PredictAnswer(manifest=answer, mask_png=MASK, overlay_webp=OVERLAY)


def _instance(label: int) -> manifest.Instance:
    rle = manifest.Rle(size=(3, 4), counts="0")
    return manifest.Instance(label=label, score=0.9, box=(0, 0, 1, 1), area=1, rle=rle)
