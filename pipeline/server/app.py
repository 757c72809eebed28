"""The internal HTTP server around the model, put together."""

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping
from functools import partial

from aiohttp import web

from pipeline.decode.pool import DecodePool
from pipeline.model.executor import ModelExecutor
from pipeline.model.segmentation_model import SegmentationModel
from pipeline.server.admission import Admission, Bounds, ByteBudget
from pipeline.server.answers import METRICS, SETTINGS, Metrics, answer_errors, check_key
from pipeline.server.model_host import ModelHost
from pipeline.server.predictor import Predictor
from pipeline.server.routes import ADMISSION, CONTEXTS, HOST, PREDICTOR, ROUTES
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
