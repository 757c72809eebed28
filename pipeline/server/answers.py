"""What surrounds every request: its key, each error in the contract's form, and the counters."""

import hmac
import re
from collections.abc import Awaitable, Callable, Iterable, Mapping
from http import HTTPStatus
from typing import Final

from aiohttp import web
from prometheus_client import CollectorRegistry, Counter, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector
from typing_extensions import override

from pipeline.errors import Busy, PipelineError
from pipeline.settings import Settings
from runtime import logs
from s3_sam3.contracts.errors import FACTS, ErrorCode
from s3_sam3.contracts.pipeline import API_KEY_HEADER


Figures = Callable[[], Mapping[str, float]]
"""Counts and sizes by name, read when they are asked for: `views_total`, `bytes{tier="gpu"}`."""

_PREFIX: Final = "s3_pipeline_"
_FIGURE: Final = re.compile(r'(?P<name>\w+?)(?P<counter>_total)?(?:\{tier="(?P<tier>\w+)"\})?')


class Metrics:
    """One server's counters, in a registry of their own, and the *figures* of its parts."""

    def __init__(self, figures: Figures) -> None:
        self._registry = CollectorRegistry()
        self.requests = self._counter("requests", "Answers.", "path", "code")
        self.pictures = self._counter("pictures", "Segmented pictures.")
        self.prompts = self._counter("prompts", "Prompts of segmented pictures.")
        self.instances = self._counter("instances", "Instances found.")
        self.stage_seconds = self._counter("stage_seconds", "Time of each stage.", "stage")
        self._registry.register(_FigureCollector(figures))

    def _counter(self, name: str, help_text: str, *labels: str) -> Counter:
        return Counter(_PREFIX + name, help_text, labels, registry=self._registry)

    def text(self) -> bytes:
        """Write everything as Prometheus reads it."""
        return generate_latest(self._registry)


class _FigureCollector(Collector):
    """Turns figures into metrics: a name that ends in `_total` counts up, others are gauges."""

    def __init__(self, figures: Figures) -> None:
        self._figures = figures

    @override
    def collect(self) -> Iterable[Metric]:
        families: dict[str, CounterMetricFamily | GaugeMetricFamily] = {}
        for figure, value in self._figures().items():
            parts = _FIGURE.fullmatch(figure)
            if parts is None:
                msg = f"a figure with an odd name: {figure}"
                raise ValueError(msg)
            name, tier = parts["name"], parts["tier"]
            if name not in families:
                kind = CounterMetricFamily if parts["counter"] else GaugeMetricFamily
                families[name] = kind(_PREFIX + name, "", labels=("tier",) if tier else ())
            families[name].add_metric((tier,) if tier else (), value)
        return families.values()


log = logs.get_logger(__name__)

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]

SETTINGS: Final = web.AppKey("settings", Settings)
METRICS: Final = web.AppKey("metrics", Metrics)

#: Seconds after which to ask again when no model is ready; a full pipeline knows better.
_RETRY_AFTER: Final = 2

_OPEN_PATHS: Final = {"/health"}

#: What aiohttp itself refuses; anything else is an invalid request.
_HTTP_ERRORS: Final = {
    HTTPStatus.NOT_FOUND: ErrorCode.NOT_FOUND,
    HTTPStatus.METHOD_NOT_ALLOWED: ErrorCode.METHOD_NOT_ALLOWED,
    HTTPStatus.REQUEST_ENTITY_TOO_LARGE: ErrorCode.FILE_TOO_LARGE,
}


@web.middleware
async def check_key(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Demand the pipeline's key on every path but `/health`, compared in constant time."""
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
async def answer_errors(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Answer every error in the contract's form; the one place that catches all."""
    try:
        response = await handler(request)
    except PipelineError as error:
        return _refuse(request, error)
    except web.HTTPException as error:
        code = _HTTP_ERRORS.get(HTTPStatus(error.status), ErrorCode.INVALID_REQUEST)
        return _refuse(request, PipelineError(code=code), error.headers.get("Allow"))
    except Exception:  # whatever it is, the caller gets an answer and the log the reason
        log.exception("request_crashed", path=request.path)
        return _refuse(request, PipelineError(code=ErrorCode.INTERNAL))
    request.app[METRICS].requests.labels(_route(request), "ok").inc()
    return response


def json_answer(text: str) -> web.Response:
    """Answer with JSON that is already text."""
    return web.Response(text=text, content_type="application/json")


def _refuse(request: web.Request, error: PipelineError, allow: str | None = None) -> web.Response:
    request.app[METRICS].requests.labels(_route(request), error.code.value).inc()
    log.warning("request_refused", path=request.path, code=error.code, reason=error.message)
    fact = FACTS[error.code]
    body = {"code": error.code, "message": error.message, "retryable": fact.retryable}
    response = web.json_response({"error": body}, status=fact.status)
    if fact.status == HTTPStatus.SERVICE_UNAVAILABLE:
        seconds = error.seconds if isinstance(error, Busy) else _RETRY_AFTER
        response.headers["Retry-After"] = str(seconds)
    if allow:
        response.headers["Allow"] = allow
    return response


def _route(request: web.Request) -> str:
    """The route's pattern as a label, "other" for unknown paths, so that labels stay few."""
    resource = request.match_info.route.resource
    return resource.canonical if resource else "other"
