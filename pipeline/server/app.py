"""The internal HTTP server around the model: its routes, put together with all they need."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from functools import partial
from typing import Final

from aiohttp import web
from prometheus_client.exposition import CONTENT_TYPE_PLAIN_0_0_4

from pipeline.decode.pool import DecodePool
from pipeline.errors import ModelDied
from pipeline.model.executor import ModelExecutor
from pipeline.model.segmentation_model import RequestContext, SegmentationModel
from pipeline.server import forms
from pipeline.server.admission import Admission, Bounds, ByteBudget
from pipeline.server.answers import (
    METRICS,
    SETTINGS,
    Metrics,
    answer_errors,
    check_key,
    json_answer,
)
from pipeline.server.model_host import ModelHost
from pipeline.server.predictor import Job, Prediction, Predictor
from pipeline.settings import Settings
from runtime import logs
from s3_sam3.contracts import limits
from s3_sam3.contracts.pipeline import REQUEST_ID_HEADER, Health, PredictProgress


log = logs.get_logger(__name__)

ADMISSION: Final = web.AppKey("admission", Admission)
PREDICTOR: Final = web.AppKey("predictor", Predictor)
HOST: Final = web.AppKey("host", ModelHost)
CONTEXTS: Final = web.AppKey("contexts", dict[str, RequestContext])
"""Name of a request → how far it is."""


async def predict(request: web.Request) -> web.Response:
    """Segment one picture."""
    app = request.app
    # A body without a declared length may be as long as one can be.
    size = request.content_length or limits.MAX_UPLOAD_BYTES
    with app[ADMISSION].admit(size) as decoded:
        app[HOST].model  # noqa: B018 - refuse before 50 MB are read
        image, body = await forms.read(request)
        asked = forms.parse(body)
        context = RequestContext(scope=asked.scope, frugal=asked.frugal)
        job = Job(data=image, request=asked, context=context, decoded=decoded)
        try:
            with _named(request, context):
                found = await app[PREDICTOR].predict(app[HOST].model, job)
        except ModelDied as error:
            app[HOST].died(error)
            raise
        _count(app, found)
        manifest = await app[PREDICTOR].executor.beside(found.manifest.model_dump_json)
    return forms.answer(manifest.encode(), mask_png=found.mask_png, overlay_webp=found.overlay_webp)


@contextlib.contextmanager
def _named(request: web.Request, context: RequestContext) -> Iterator[None]:
    """Let `predict_progress` find the context while the request runs, if its caller named it."""
    contexts, name = request.app[CONTEXTS], request.headers.get(REQUEST_ID_HEADER)
    if name is None or name in contexts:
        yield
        return
    contexts[name] = context
    try:
        yield
    finally:
        del contexts[name]


def _count(app: web.Application, found: Prediction) -> None:
    """Put a segmented picture into the metrics and the log."""
    manifest, timings = found.manifest, found.manifest.timings
    metrics = app[METRICS]
    metrics.pictures.inc()
    metrics.prompts.inc(len(manifest.prompts))
    metrics.instances.inc(manifest.instance_count)
    for stage in ("decode", "model", "post"):
        metrics.stage_seconds.labels(stage).inc(getattr(timings, f"{stage}_ms") / 1000)
    log.info(
        "picture_segmented",
        size=f"{manifest.image.width}x{manifest.image.height}",
        prompts=len(manifest.prompts),
        instances=manifest.instance_count,
        **timings.model_dump(),
    )


async def predict_progress(request: web.Request) -> web.Response:
    """Say how far a request is; 404 when none of that name is under way."""
    context = request.app[CONTEXTS].get(request.match_info["request_id"])
    if context is None:
        raise web.HTTPNotFound
    return json_answer(PredictProgress(computed=context.computed).model_dump_json())


async def health(request: web.Request) -> web.Response:
    """Say how the model is; always 200, since the server itself is well."""
    return json_answer(request.app[HOST].health.model_dump_json())


async def model_info(request: web.Request) -> web.Response:
    """Say which model serves."""
    return json_answer(request.app[HOST].model.info.model_dump_json())


async def metrics(request: web.Request) -> web.Response:
    """Write out what was counted."""
    return web.Response(
        body=request.app[METRICS].text(), headers={"Content-Type": CONTENT_TYPE_PLAIN_0_0_4}
    )


ROUTES: Final = (
    web.get("/health", health),
    web.post("/api/v1/predict", predict),
    web.get("/api/v1/progress/{request_id}", predict_progress),
    web.get("/api/v1/model/info", model_info),
    web.get("/metrics", metrics),
)


def create_app(
    settings: Settings, load: Callable[[], SegmentationModel], bounds: Bounds | None = None
) -> web.Application:
    """Build the server; *load* is called once, in the model's thread, after the start."""
    bounds = bounds or Bounds()
    app = web.Application(middlewares=[answer_errors, check_key])
    executor = ModelExecutor(side_threads=bounds.side_threads)
    decoder = DecodePool(bounds.decoders)
    app[SETTINGS] = settings
    app[ADMISSION] = Admission(requests=bounds.requests, upload_bytes=bounds.upload_bytes)
    app[PREDICTOR] = Predictor(
        decoder=decoder,
        executor=executor,
        pictures=ByteBudget(bounds.picture_bytes),
        drawings=ByteBudget(bounds.drawing_bytes),
    )
    app[HOST] = ModelHost(executor, app[ADMISSION])
    app[METRICS] = Metrics(partial(_figures, app))
    app[CONTEXTS] = {}
    app.cleanup_ctx.append(partial(_decoder, decoder=decoder))
    app.cleanup_ctx.append(partial(_model, load=load))
    app.add_routes(ROUTES)
    return app


async def _decoder(_app: web.Application, decoder: DecodePool) -> AsyncIterator[None]:
    async with decoder:
        yield


async def _model(
    app: web.Application, load: Callable[[], SegmentationModel]
) -> AsyncIterator[None]:
    """Load the model beside the loop; at the end withdraw what waits for it."""
    setup = asyncio.create_task(app[HOST].setup(load), name="setup")
    yield
    setup.cancel()
    await asyncio.gather(setup, return_exceptions=True)
    app[PREDICTOR].executor.close()


def _figures(app: web.Application) -> Mapping[str, float]:
    """Sizes for `/metrics`, and what the model counts."""
    ready = app[HOST].health.status in {Health.READY, Health.BUSY}
    return {
        **(app[HOST].model.figures if ready else {}),
        "requests_inside": app[ADMISSION].inside,
        "picture_bytes": app[PREDICTOR].pictures.held,
        "drawing_bytes": app[PREDICTOR].drawings.held,
        "ready": int(ready),
    }
