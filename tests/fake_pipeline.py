"""A pipeline without a model: the internal contract, answered at once or when told to."""

import asyncio

from aiohttp import web

from pipeline.server import forms
from s3_sam3.contracts import manifest, pipeline
from s3_sam3.contracts.errors import FACTS, ErrorCode


API_KEY = "a-key-between-listener-and-pipeline"
PICTURE = b"the pipeline is a fake and decodes nothing"
MODEL = manifest.ModelInfo(
    name="fake",
    revision="0",
    dtype="bfloat16",
    device="cuda:0",
    code_version="0",
    demo=True,
    memory_mb=24_000,
)
CANDIDATE = manifest.Candidate(
    score=0.3, box=(0, 0, 1, 1), area=1, rle=manifest.Rle(size=(3, 4), counts="0")
)
"""What every prompt finds besides its instance."""
MASK, OVERLAY = b"\x89PNG mask", b"RIFF overlay"


class FakePipeline:
    """
    An aiohttp server whose health, answers and delays a test decides.

    A prompt whose text stands in `refusals` is refused with that code; `frugal_only` are refused
    with out_of_memory unless asked to be frugal.
    """

    def __init__(self) -> None:
        self.health = pipeline.Health.READY
        self.health_asked = 0
        self.model = MODEL
        self.asked: list[pipeline.PredictRequest] = []
        self.inside = 0
        self.most_inside = 0
        self.hung_up: list[pipeline.PredictRequest] = []
        """Requests whose caller left before the answer."""
        self.names: list[str] = []
        self.computed: int | None = None
        """What it says of any request's progress."""
        self.refusals: dict[str, ErrorCode] = {}
        self.frugal_only: set[str] = set()
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
                web.get("/api/v1/progress/{name}", self._progress),
                web.post("/api/v1/predict", self._predict),
            ]
        )
        # As the real one: a caller that hangs up ends the work.
        self._runner = web.AppRunner(app, handler_cancellation=True, shutdown_timeout=0.1)
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
        answer = pipeline.HealthAnswer(status=self.health, model=self.model)
        return web.json_response(text=answer.model_dump_json())

    async def _info(self, request: web.Request) -> web.Response:
        if request.headers[pipeline.API_KEY_HEADER] != self.api_key:
            return web.json_response({"error": {"code": "unauthenticated"}}, status=401)
        return web.json_response({})

    async def _progress(self, _request: web.Request) -> web.Response:
        if self.computed is None:
            raise web.HTTPNotFound
        return web.json_response({"computed": self.computed})

    async def _predict(self, request: web.Request) -> web.Response:
        form = await request.post()
        sent, picture = form[pipeline.REQUEST_PART], form[pipeline.IMAGE_PART]
        assert isinstance(sent, bytearray)
        assert isinstance(picture, web.FileField)
        assert picture.file.read() == PICTURE
        asked = pipeline.PredictRequest.model_validate_json(bytes(sent))
        self.asked.append(asked)
        self.names.append(request.headers[pipeline.REQUEST_ID_HEADER])
        self.inside += 1
        self.most_inside = max(self.inside, self.most_inside)
        try:
            await self.gate.wait()
        except asyncio.CancelledError:
            self.hung_up.append(asked)
            raise
        finally:
            self.inside -= 1
        if self.hang_up:
            assert request.transport is not None
            request.transport.abort()
        if refusal := self._refusal(asked):
            error = {"code": refusal, "message": "refused by the fake"}
            return web.json_response({"error": error}, status=FACTS[refusal].status)
        found = predicted(asked).model_dump_json().encode()
        return forms.answer(found, mask_png=MASK, overlay_webp=OVERLAY)

    def _refusal(self, asked: pipeline.PredictRequest) -> ErrorCode | None:
        texts = {prompt.text or "" for prompt in asked.prompts}
        if texts & self.frugal_only and not asked.frugal:
            return ErrorCode.OUT_OF_MEMORY
        named = [self.refusals[text] for text in texts if text in self.refusals]
        return named[0] if named else self.refusal


def predicted(asked: pipeline.PredictRequest) -> manifest.Manifest:
    """A manifest with one instance and one candidate per prompt."""
    return manifest.Manifest(
        image=manifest.ImageSize(width=4, height=3),
        model=MODEL,
        timings=manifest.Timings(decode_ms=1, model_ms=2, post_ms=3, total_ms=6),
        options=asked.options,
        prompts=tuple(
            manifest.PromptResult(
                id=prompt.id or "",
                text=prompt.text,
                presence=1,
                truncated=False,
                instances=(_instance(number + 1),),
                candidates=(CANDIDATE,),
            )
            for number, prompt in enumerate(asked.prompts)
        ),
    )


def _instance(label: int) -> manifest.Instance:
    return manifest.Instance(label=label, **{**CANDIDATE.model_dump(), "score": 0.9})
