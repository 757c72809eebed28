"""The routes that segment a picture, and say how far that is."""

import contextlib
from collections.abc import Callable, Iterator
from typing import Final

import structlog
from aiohttp import web

from pipeline.errors import ModelDied
from pipeline.model.request_context import RequestContext
from pipeline.server import forms
from pipeline.server.admission import Admission
from pipeline.server.answers import METRICS, json_answer
from pipeline.server.model_host import ModelHost
from pipeline.server.predict import Job, Prediction, Predictor
from s3_sam3.contracts import limits
from s3_sam3.contracts.pipeline import REQUEST_ID_HEADER, PredictProgress


log = structlog.get_logger(__name__)

ADMISSION: Final = web.AppKey("admission", Admission)
PREDICTOR: Final = web.AppKey("predictor", Predictor)
HOST: Final = web.AppKey("host", ModelHost)
CONTEXTS: Final = web.AppKey("contexts", dict[str, RequestContext])


async def predict(request: web.Request) -> web.Response:
    """Segment one picture."""
    # A body whose length is not said may be as long as one can be.
    size = request.content_length or limits.MAX_UPLOAD_BYTES
    with request.app[ADMISSION].place(size) as decoded:
        request.app[HOST].segmenter  # noqa: B018 - refuse before 50 MB are read
        image, body = await forms.read(request)
        context = RequestContext()
        with _named(request, context):
            answer = await _predict(request.app, image, body, context, decoded)
        manifest = await request.app[PREDICTOR].executor.beside(answer.manifest.model_dump_json)
    return forms.answer(
        manifest.encode(), mask_png=answer.mask_png, overlay_webp=answer.overlay_webp
    )


@contextlib.contextmanager
def _named(request: web.Request, context: RequestContext) -> Iterator[None]:
    """Let `predict_progress` find the context while it runs, if the caller gave it a name."""
    contexts, name = request.app[CONTEXTS], request.headers.get(REQUEST_ID_HEADER)
    if name is None or name in contexts:
        yield
        return
    contexts[name] = context
    try:
        yield
    finally:
        del contexts[name]


async def predict_progress(request: web.Request) -> web.Response:
    """Say how far a request is; 404 when none of that name is under way."""
    context = request.app[CONTEXTS].get(request.match_info["request_id"])
    if context is None:
        raise web.HTTPNotFound
    return json_answer(PredictProgress(computed=context.computed).model_dump_json())


async def _predict(
    app: web.Application,
    image: bytes,
    body: bytes,
    context: RequestContext,
    decoded: Callable[[], None],
) -> Prediction:
    """Segment, count, and take note of a lost GPU."""
    asked = forms.parse(body)
    context.scope, context.frugal = asked.scope, asked.frugal
    job = Job(data=image, request=asked, context=context, decoded=decoded)
    try:
        answer = await app[PREDICTOR].predict(app[HOST].segmenter, job)
    except ModelDied as error:
        app[HOST].died(error)
        raise
    manifest, timings = answer.manifest, answer.manifest.timings
    app[METRICS].picture(
        prompts=len(manifest.prompts),
        instances=manifest.instance_count,
        seconds={
            "decode": timings.decode_ms / 1000,
            "model": timings.model_ms / 1000,
            "post": timings.post_ms / 1000,
        },
    )
    log.info(
        "picture_segmented",
        size=f"{manifest.image.width}x{manifest.image.height}",
        prompts=len(manifest.prompts),
        instances=manifest.instance_count,
        **timings.model_dump(),
    )
    return answer


ROUTES: Final = (
    web.post("/api/v1/predict", predict),
    web.get("/api/v1/progress/{request_id}", predict_progress),
)
