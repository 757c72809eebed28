"""
Client of the pipeline: posts the picture, translates answers and errors, watches its health.

Each request has a connection of its own. On a kept one, a pipeline that restarted would look like
one that died over this picture; and on this host a connection costs a tenth of a millisecond.
"""

import asyncio
import json
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any, Final

import aiohttp
from aiohttp.http_exceptions import HttpProcessingError
from pydantic import BaseModel, ConfigDict, ValidationError

from listener import errors
from runtime import logs
from s3_sam3.contracts import pipeline
from s3_sam3.contracts.errors import ErrorCode
from s3_sam3.contracts.manifest import ImageSize, ModelInfo, Timings
from s3_sam3.contracts.pipeline import Health, HealthAnswer


_GET_TIMEOUT: Final = aiohttp.ClientTimeout(total=5)
_CONNECT_SECONDS: Final = 3.0
_READ_BYTES: Final = 256 * 1024
_WRONG_KEY: Final = pipeline.HealthAnswer(
    status=pipeline.Health.SETUP_FAILED,
    reason="the pipeline has another API_SECRET_KEY than this listener",
)
_NOTHING_ASKED: Final = frozenset(
    {
        ErrorCode.MODEL_UNAVAILABLE,
        ErrorCode.SHUTTING_DOWN,
        ErrorCode.RATE_LIMITED,
        ErrorCode.UNAUTHENTICATED,
        ErrorCode.FORBIDDEN,
    }
)
"""Refusals that say nothing about the picture; the model was not asked."""


class _Counted(BaseModel):
    """An instance of which nothing is read."""


class PromptHead(BaseModel):
    """What one prompt found, without its masks."""

    id: str
    text: str | None
    presence: float
    truncated: bool
    instances: tuple[_Counted, ...]


class ManifestHead(BaseModel):
    """The fields of a manifest that the listener reads; the rest passes through it unread."""

    model_config = ConfigDict(protected_namespaces=())

    image: ImageSize
    model: ModelInfo
    timings: Timings
    prompts: tuple[PromptHead, ...]

    @property
    def instance_count(self) -> int:
        """Instances over all prompts."""
        return sum(len(prompt.instances) for prompt in self.prompts)


@dataclass(frozen=True, slots=True, kw_only=True)
class Segmented:
    """What the pipeline found, ready to be stored."""

    head: ManifestHead
    manifest_json: bytes
    mask_png: bytes
    overlay_webp: bytes


class PipelineClient:
    """Speaks the contract in `contracts/pipeline.py`."""

    def __init__(self, session: aiohttp.ClientSession, *, url: str, api_key: str) -> None:
        self._session = session
        self._url = url
        self._headers = {pipeline.API_KEY_HEADER: api_key}
        self._key_fits = False

    async def health(self) -> pipeline.HealthAnswer | None:
        """What the pipeline says of itself; None: it does not answer, or it is none."""
        try:
            _, body = await self._get("/health")
            health = pipeline.HealthAnswer.model_validate_json(body)
            # Asked until it fits, so that a wrong key is known before a task is claimed.
            self._key_fits = self._key_fits or await self._ask_with_key()
        except (aiohttp.ClientError, TimeoutError, ValidationError):
            self._key_fits = False
            return None
        return health if self._key_fits else _WRONG_KEY

    async def segment(
        self, image: bytes, request: pipeline.PredictRequest, *, name: str
    ) -> Segmented:
        """
        Post one picture with its prompts. The caller bounds the time; *name* is for `computed`.

        Cancelled, it hangs up, and the pipeline stops at the next prompt.

        Raises: PipelineGone, PipelineBroke, PipelineRefused.
        """
        form = aiohttp.FormData()
        form.add_field(
            pipeline.REQUEST_PART, request.model_dump_json(), content_type="application/json"
        )
        form.add_field(
            pipeline.IMAGE_PART, image, filename="image", content_type="application/octet-stream"
        )
        timeout = aiohttp.ClientTimeout(total=None, connect=_CONNECT_SECONDS)
        headers = {**self._headers, pipeline.REQUEST_ID_HEADER: name}
        try:
            async with self._session.post(
                f"{self._url}/api/v1/predict", data=form, headers=headers, timeout=timeout
            ) as answer:
                if answer.status != HTTPStatus.OK:
                    raise _refusal(answer.status, await answer.read())
                return await _read(answer)
        except (aiohttp.ClientConnectorError, aiohttp.ConnectionTimeoutError) as error:
            raise errors.PipelineGone("no connection to the pipeline") from error
        except (aiohttp.ClientError, TimeoutError) as error:
            raise errors.PipelineBroke(f"no answer: {type(error).__name__}") from error

    async def computed(self, name: str) -> int | None:
        """How many prompts the model is done with in a request under way; None: not known."""
        try:
            status, body = await self._get(f"/api/v1/progress/{name}")
            if status != HTTPStatus.OK:
                return None
            return pipeline.PredictProgress.model_validate_json(body).computed
        except (aiohttp.ClientError, TimeoutError, ValidationError):
            return None

    async def _ask_with_key(self) -> bool:
        status, _ = await self._get("/api/v1/model/info")
        return status != HTTPStatus.UNAUTHORIZED

    async def _get(self, path: str) -> tuple[int, bytes]:
        async with self._session.get(
            self._url + path, headers=self._headers, timeout=_GET_TIMEOUT
        ) as answer:
            return answer.status, await answer.read()


def session() -> aiohttp.ClientSession:
    """A session that keeps no connection, for the reason above."""
    return aiohttp.ClientSession(connector=aiohttp.TCPConnector(force_close=True, limit=0))


async def _read(answer: aiohttp.ClientResponse) -> Segmented:
    """Take the parts out of the answer. Raises: PipelineBroke, aiohttp.ClientError."""
    parts: dict[str | None, bytes] = {}
    try:
        async for part in aiohttp.MultipartReader.from_response(answer):
            if isinstance(part, aiohttp.BodyPartReader):
                parts[part.name] = await _content(part)
        return Segmented(
            # In a thread: a crowded picture's manifest is megabytes of JSON.
            head=await asyncio.to_thread(
                ManifestHead.model_validate_json, parts[pipeline.MANIFEST_PART]
            ),
            manifest_json=parts[pipeline.MANIFEST_PART],
            mask_png=parts[pipeline.MASK_PART],
            overlay_webp=parts[pipeline.OVERLAY_PART],
        )
    except (ValueError, KeyError, AssertionError, HttpProcessingError) as error:
        # What aiohttp raises for a form that is none, pydantic for JSON that is no manifest.
        raise errors.PipelineBroke(f"unreadable answer: {type(error).__name__}") from error


async def _content(part: aiohttp.BodyPartReader) -> bytes:
    content = bytearray()
    while chunk := await part.read_chunk(_READ_BYTES):
        content += chunk
    return bytes(content)


def _refusal(status: int, body: bytes) -> errors.ListenerError:
    code, message = _error_of(body)
    if code in _NOTHING_ASKED:
        return errors.PipelineGone(f"{code}: {message}")
    return errors.PipelineRefused(code, f"{message} ({status})")


def _error_of(body: bytes) -> tuple[ErrorCode, str]:
    """The code and message of an error envelope; a body that is none is `pipeline_failed`."""
    try:
        error: Any = json.loads(body)["error"]
        return ErrorCode(error["code"]), str(error["message"])
    except (ValueError, KeyError, TypeError):
        return ErrorCode.PIPELINE_FAILED, "the pipeline answered without an error code"


log = logs.get_logger(__name__)

_LOOK_SECONDS: Final = 1.0
_WORKING: Final = frozenset({Health.READY, Health.BUSY})


class ModelWatch:
    """Knows whether claiming makes sense; `run` keeps it up to date."""

    def __init__(self, pipeline: PipelineClient) -> None:
        self._pipeline = pipeline
        self._working = asyncio.Event()
        self._last: tuple[str, str | None] | None = None
        self.model: ModelInfo | None = None
        """The model that the pipeline named last."""

    async def run(self) -> None:
        """Ask the pipeline every second until cancelled."""
        while True:
            self._note(await self._pipeline.health())
            await asyncio.sleep(_LOOK_SECONDS)

    async def until_working(self) -> None:
        """Wait until the pipeline is ready or busy."""
        await self._working.wait()

    def gone(self) -> None:
        """Claim nothing until the next look: an attempt could not reach the pipeline."""
        self._working.clear()

    def _note(self, answer: HealthAnswer | None) -> None:
        if answer is not None and answer.status in _WORKING:
            self.model = answer.model
            self._working.set()
        else:
            self._working.clear()
        self._tell(answer)

    def _tell(self, answer: HealthAnswer | None) -> None:
        """Log a change, not each look; ready and busy are one state to the listener."""
        working = self._working.is_set()
        status = "working" if working else str(answer.status if answer else "unreachable")
        reason = answer.reason if answer else None
        if (status, reason) != self._last:
            self._last = (status, reason)
            level = log.info if working else log.warning
            level("pipeline_" + status, reason=reason)
