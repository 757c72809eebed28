"""The internal HTTP server around the model. It knows pixels: no database, no storage."""

import asyncio
from collections.abc import AsyncIterator, Callable
from functools import partial

from aiohttp import web

from pipeline.decode.pool import DecodePool
from pipeline.model.executor import ModelExecutor
from pipeline.model.request_context import RequestContext
from pipeline.model.segmentation_model import SegmentationModel
from pipeline.server import predicting
from pipeline.server.admission import Admission, Room
from pipeline.server.answers import METRICS, SETTINGS, answer_errors, check_key, json_answer
from pipeline.server.bounds import Bounds
from pipeline.server.metrics import Metrics
from pipeline.server.model_host import ModelHost, cancel
from pipeline.server.predict import Predictor
from pipeline.server.predicting import ADMISSION, CONTEXTS, HOST, PREDICTOR
from pipeline.settings import Settings
from s3_sam3.contracts.pipeline import Health


def create_app(
    settings: Settings, load: Callable[[], SegmentationModel], bounds: Bounds | None = None
) -> web.Application:
    """Build the server; *load* is called once, in the model's thread, after the start."""
    bounds = bounds or Bounds()
    app = web.Application(middlewares=[answer_errors, check_key])
    executor = ModelExecutor(side_threads=bounds.side_threads)
    decoder = DecodePool(bounds.decoders)
    app[SETTINGS] = settings
    app[ADMISSION] = Admission(places=bounds.requests, upload_bytes=bounds.upload_bytes)
    app[PREDICTOR] = Predictor(
        decoder=decoder,
        executor=executor,
        room=Room(bounds.picture_bytes),
        drawing=Room(bounds.drawing_bytes),
    )
    app[HOST] = ModelHost(executor, app[ADMISSION])
    app[METRICS] = Metrics()
    app[CONTEXTS] = dict[str, RequestContext]()
    app.cleanup_ctx.append(partial(_decoder, decoder=decoder))
    app.cleanup_ctx.append(partial(_model, load=load))
    app.add_routes(
        [
            web.get("/health", health),
            web.get("/api/v1/model/info", model_info),
            web.get("/metrics", metrics),
            *predicting.ROUTES,
        ]
    )
    return app


async def _decoder(_app: web.Application, decoder: DecodePool) -> AsyncIterator[None]:
    """Keep the children that decode."""
    async with decoder:
        yield


async def _model(
    app: web.Application, load: Callable[[], SegmentationModel]
) -> AsyncIterator[None]:
    """Load the model beside the loop; withdraw what waits at the end."""
    setup = asyncio.create_task(app[HOST].setup(load), name="setup")
    yield
    await cancel(setup)
    app[PREDICTOR].executor.close()


async def health(request: web.Request) -> web.Response:
    """Say how the model is; always 200, since the server itself is well."""
    return json_answer(request.app[HOST].health.model_dump_json())


async def model_info(request: web.Request) -> web.Response:
    """Say which model serves."""
    return json_answer(request.app[HOST].segmenter.info.model_dump_json())


async def metrics(request: web.Request) -> web.Response:
    """Write the counters in Prometheus' text format."""
    app = request.app
    ready = app[HOST].health.status in {Health.READY, Health.BUSY}
    figures = {
        **(app[HOST].segmenter.figures if ready else {}),
        "requests_inside": app[ADMISSION].inside,
        "picture_bytes": app[PREDICTOR].room.held,
        "drawing_bytes": app[PREDICTOR].drawing.held,
        "ready": int(ready),
    }
    text = app[METRICS].text(figures=figures)
    return web.Response(text=text, content_type="text/plain", charset="utf-8")
