"""The internal HTTP server around the model. It knows pixels: no database, no storage."""

import asyncio
import contextlib
import hmac
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from functools import partial
from typing import Final

import structlog
from aiohttp import web

from contracts.errors import FACTS, ErrorCode
from contracts.pipeline import (
    API_KEY_HEADER,
    REQUEST_ID_HEADER,
    Health,
    PredictAnswer,
    PredictProgress,
)
from pipeline import forms
from pipeline.errand import Errand
from pipeline.errors import ModelDied, PipelineError
from pipeline.lane import Lane
from pipeline.metrics import Metrics
from pipeline.model_host import ModelHost, cancel
from pipeline.predict import predict
from pipeline.segmenter import Segmenter
from pipeline.settings import Settings


log = structlog.get_logger(__name__)

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]

SETTINGS: Final = web.AppKey("settings", Settings)
LANE: Final = web.AppKey("lane", Lane)
HOST: Final = web.AppKey("host", ModelHost)
METRICS: Final = web.AppKey("metrics", Metrics)
ERRANDS: Final = web.AppKey("errands", dict[str, Errand])

#: Requests that may wait while one is in the model; the next gets 503.
WAITING: Final = 8

#: Seconds after which a refused caller may ask again.
_RETRY_AFTER: Final = "2"

_OPEN_PATHS: Final = {"/health"}


def create_app(
    settings: Settings, load: Callable[[], Segmenter], *, waiting: int = WAITING
) -> web.Application:
    """Build the server; *load* is called once, in the model's thread, after the start."""
    app = web.Application(middlewares=[_answer_errors, _check_key])
    app[SETTINGS] = settings
    app[LANE] = Lane(waiting=waiting)
    app[HOST] = ModelHost(app[LANE])
    app[METRICS] = Metrics()
    app[ERRANDS] = {}
    app.cleanup_ctx.append(partial(_model, load=load))
    app.add_routes(
        [
            web.get("/health", health),
            web.post("/api/v1/predict", predict_one),
            web.post("/api/v1/predict/batch", predict_batch),
            web.get("/api/v1/progress/{request_id}", predict_progress),
            web.get("/api/v1/model/info", model_info),
            web.get("/metrics", metrics),
        ]
    )
    return app


async def _model(app: web.Application, load: Callable[[], Segmenter]) -> AsyncIterator[None]:
    """Load the model beside the loop; withdraw what waits at the end."""
    setup = asyncio.create_task(app[HOST].setup(load), name="setup")
    yield
    await cancel(setup)
    app[LANE].close()


async def health(request: web.Request) -> web.Response:
    """Say how the model is; always 200, since the server itself is well."""
    return _json(request.app[HOST].health.model_dump_json())


async def model_info(request: web.Request) -> web.Response:
    """Say which model serves."""
    return _json(request.app[HOST].segmenter.info.model_dump_json())


async def metrics(request: web.Request) -> web.Response:
    """Write the counters in Prometheus' text format."""
    app = request.app
    ready = app[HOST].health.status in {Health.READY, Health.BUSY}
    text = app[METRICS].text(inside=app[LANE].inside, ready=ready)
    return web.Response(text=text, content_type="text/plain", charset="utf-8")


async def predict_one(request: web.Request) -> web.Response:
    """Segment one picture."""
    lane = request.app[LANE]
    with lane.place():
        request.app[HOST].segmenter  # noqa: B018 - refuse before 50 MB are read
        image, body = await forms.read_one(request)
        errand = Errand()
        with _named(request, errand):
            answer = await _predict(request.app, image, body, errand)
        return _json(await lane.beside(answer.model_dump_json))


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
    return _json(PredictProgress(computed=errand.computed).model_dump_json())


async def predict_batch(request: web.Request) -> web.Response:
    """Segment several pictures, one after the other; one that fails does not fail the others."""
    lane = request.app[LANE]
    with lane.place():
        request.app[HOST].segmenter  # noqa: B018 - as above
        items = [
            await _batch_item(request.app, image, body)
            for image, body in await forms.read_batch(request)
        ]
        return _json(f"[{','.join(items)}]")


async def _batch_item(app: web.Application, image: bytes, body: bytes) -> str:
    """One element of the answer: `{"result": …}` or `{"error": …}`, as JSON."""
    try:
        answer = await _predict(app, image, body, Errand())
    except PipelineError as error:
        return web.json_response(_error_body(error)).text or ""
    return f'{{"result":{await app[LANE].beside(answer.model_dump_json)}}}'


async def _predict(
    app: web.Application, image: bytes, body: bytes, errand: Errand
) -> PredictAnswer:
    """Segment, count, and take note of a lost GPU."""
    segmenter = app[HOST].segmenter
    asked = forms.parse(body)
    errand.scope, errand.frugal = asked.scope, asked.frugal
    try:
        answer = await predict(app[LANE], segmenter, image, asked, errand)
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


@web.middleware
async def _check_key(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Ask for the shared key on everything but `/health`, in constant time."""
    if request.path not in _OPEN_PATHS:
        sent = request.headers.get(API_KEY_HEADER, "").encode("utf-8", "surrogateescape")
        expected = request.app[SETTINGS].api_secret_key.get_secret_value().encode()
        if not hmac.compare_digest(sent, expected):
            raise PipelineError(
                f"Send the pipeline's API_SECRET_KEY as {API_KEY_HEADER}.",
                code=ErrorCode.UNAUTHENTICATED,
            )
    return await handler(request)


@web.middleware
async def _answer_errors(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Say every error in the contract's form; the one place that catches all."""
    try:
        response = await handler(request)
    except PipelineError as error:
        return _refuse(request, error)
    except web.HTTPException as error:
        return _refuse(request, _from_http(error), error.headers.get("Allow"))
    except Exception:  # whatever it is, the caller gets an answer and the log the reason
        log.exception("request_crashed", path=request.path)
        return _refuse(request, PipelineError(code=ErrorCode.INTERNAL))
    request.app[METRICS].request(_route(request), "ok")
    return response


def _refuse(request: web.Request, error: PipelineError, allow: str | None = None) -> web.Response:
    """Answer with an error."""
    request.app[METRICS].request(_route(request), error.code.value)
    log.warning("request_refused", path=request.path, code=error.code, reason=error.message)
    status = FACTS[error.code].status
    response = web.json_response(_error_body(error), status=status)
    if status == web.HTTPServiceUnavailable.status_code:
        response.headers["Retry-After"] = _RETRY_AFTER
    if allow:
        response.headers["Allow"] = allow
    return response


def _error_body(error: PipelineError) -> dict[str, object]:
    """Say an error as the contract does."""
    retryable = FACTS[error.code].retryable
    return {"error": {"code": error.code, "message": error.message, "retryable": retryable}}


def _from_http(error: web.HTTPException) -> PipelineError:
    """Translate what aiohttp itself refuses: unknown paths, wrong methods, large bodies."""
    codes = {
        404: ErrorCode.NOT_FOUND,
        405: ErrorCode.METHOD_NOT_ALLOWED,
        413: ErrorCode.FILE_TOO_LARGE,
    }
    return PipelineError(code=codes.get(error.status, ErrorCode.INVALID_REQUEST))


def _route(request: web.Request) -> str:
    """The path as a label: routes by name, everything else as one, so that labels stay few."""
    resource = request.match_info.route.resource
    return resource.canonical if resource else "other"


def _json(text: str) -> web.Response:
    """Answer with JSON that is already text."""
    return web.Response(text=text, content_type="application/json")
