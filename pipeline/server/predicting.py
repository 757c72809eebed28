"""The routes that segment a picture, and say how far that is."""

import contextlib
from collections.abc import Callable, Iterator
from typing import Final

import structlog
from aiohttp import web

from pipeline.errors import ModelDied
from pipeline.model.errand import Errand
from pipeline.server import forms
from pipeline.server.admission import Admission
from pipeline.server.answers import METRICS, json_answer
from pipeline.server.model_host import ModelHost
from pipeline.server.predict import Job, Prediction, Studio
from s3_sam3.contracts import limits
from s3_sam3.contracts.pipeline import REQUEST_ID_HEADER, PredictProgress


log = structlog.get_logger(__name__)

ADMISSION: Final = web.AppKey("admission", Admission)
STUDIO: Final = web.AppKey("studio", Studio)
HOST: Final = web.AppKey("host", ModelHost)
ERRANDS: Final = web.AppKey("errands", dict[str, Errand])


async def predict(request: web.Request) -> web.Response:
    """Segment one picture."""
    # A body whose length is not said may be as long as one can be.
    size = request.content_length or limits.MAX_UPLOAD_BYTES
    with request.app[ADMISSION].place(size) as decoded:
        request.app[HOST].segmenter  # noqa: B018 - refuse before 50 MB are read
        image, body = await forms.read(request)
        errand = Errand()
        with _named(request, errand):
            answer = await _predict(request.app, image, body, errand, decoded)
        manifest = await request.app[STUDIO].lane.beside(answer.manifest.model_dump_json)
    return forms.answer(
        manifest.encode(), mask_png=answer.mask_png, overlay_webp=answer.overlay_webp
    )


@contextlib.contextmanager
def _named(request: web.Request, errand: Errand) -> Iterator[None]:
    """Let `predict_progress` find the errand while it runs, if the caller gave it a name."""
    errands, name = request.app[ERRANDS], request.headers.get(REQUEST_ID_HEADER)
    if name is None or name in errands:
        yield
        return
    errands[name] = errand
    try:
        yield
    finally:
        del errands[name]


async def predict_progress(request: web.Request) -> web.Response:
    """Say how far a request is; 404 when none of that name is under way."""
    errand = request.app[ERRANDS].get(request.match_info["request_id"])
    if errand is None:
        raise web.HTTPNotFound
    return json_answer(PredictProgress(computed=errand.computed).model_dump_json())


async def _predict(
    app: web.Application,
    image: bytes,
    body: bytes,
    errand: Errand,
    decoded: Callable[[], None],
) -> Prediction:
    """Segment, count, and take note of a lost GPU."""
    asked = forms.parse(body)
    errand.scope, errand.frugal = asked.scope, asked.frugal
    job = Job(data=image, request=asked, errand=errand, decoded=decoded)
    try:
        answer = await app[STUDIO].predict(app[HOST].segmenter, job)
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
