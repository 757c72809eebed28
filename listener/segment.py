"""
Client of the pipeline: post the picture, bound the time, translate what comes back.

Each request has a connection of its own. On a kept one, a pipeline that restarted would look like
one that died over this picture; and on this host a connection costs a tenth of a millisecond.
"""

import asyncio
import json
from dataclasses import dataclass
from typing import Any, Final

import aiohttp
from pydantic import ValidationError

from listener import errors
from s3_sam3.contracts import pipeline
from s3_sam3.contracts.errors import ErrorCode
from s3_sam3.contracts.manifest import Manifest


_GET_TIMEOUT: Final = aiohttp.ClientTimeout(total=5)
_CONNECT_SECONDS: Final = 3.0
_OK: Final = 200
_UNAUTHENTICATED: Final = 401
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


@dataclass(frozen=True, slots=True, kw_only=True)
class Segmented:
    """What the pipeline found, ready to be stored."""

    manifest: Manifest
    manifest_json: bytes
    mask_png: bytes
    overlay_webp: bytes


class Segmenter:
    """Speaks the internal contract (`contracts/pipeline.py`)."""

    def __init__(self, session: aiohttp.ClientSession, *, url: str, api_key: str) -> None:
        self._session = session
        self._url = url
        self._headers = {pipeline.API_KEY_HEADER: api_key}
        self._admitted = False

    async def health(self) -> pipeline.HealthAnswer | None:
        """What the pipeline says of itself; None: it does not answer, or it is none."""
        try:
            _, body = await self._get("/health")
            health = pipeline.HealthAnswer.model_validate_json(body)
            # Once per acquaintance: a wrong key is to be known before a task is claimed.
            self._admitted = self._admitted or await self._knocked()
        except (aiohttp.ClientError, TimeoutError, ValidationError):
            self._admitted = False
            return None
        return health if self._admitted else _WRONG_KEY

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
        status, body = await self._post("/api/v1/predict", form, name)
        if status != _OK:
            raise _refusal(status, body)
        try:
            # Off the loop: a crowded picture's answer is megabytes of JSON.
            return await asyncio.to_thread(_read, body)
        except ValueError as error:
            raise errors.PipelineBroke(f"unreadable answer: {type(error).__name__}") from error

    async def computed(self, name: str) -> int | None:
        """How many prompts the model is done with in a request under way; None: not known."""
        try:
            status, body = await self._get(f"/api/v1/progress/{name}")
            if status != _OK:
                return None
            return pipeline.PredictProgress.model_validate_json(body).computed
        except (aiohttp.ClientError, TimeoutError, ValidationError):
            return None

    async def _knocked(self) -> bool:
        status, _ = await self._get("/api/v1/model/info")
        return status != _UNAUTHENTICATED

    async def _get(self, path: str) -> tuple[int, bytes]:
        async with self._session.get(
            self._url + path, headers=self._headers, timeout=_GET_TIMEOUT
        ) as answer:
            return answer.status, await answer.read()

    async def _post(self, path: str, form: aiohttp.FormData, name: str) -> tuple[int, bytes]:
        timeout = aiohttp.ClientTimeout(total=None, connect=_CONNECT_SECONDS)
        headers = {**self._headers, pipeline.REQUEST_ID_HEADER: name}
        try:
            async with self._session.post(
                self._url + path, data=form, headers=headers, timeout=timeout
            ) as answer:
                return answer.status, await answer.read()
        except (aiohttp.ClientConnectorError, aiohttp.ConnectionTimeoutError) as error:
            raise errors.PipelineGone("no connection to the pipeline") from error
        except (aiohttp.ClientError, TimeoutError) as error:
            raise errors.PipelineBroke(f"no answer: {type(error).__name__}") from error


def session() -> aiohttp.ClientSession:
    """A session that keeps no connection, for the reason above."""
    return aiohttp.ClientSession(connector=aiohttp.TCPConnector(force_close=True, limit=0))


def _read(body: bytes) -> Segmented:
    """Raises: ValueError."""
    answer = pipeline.PredictAnswer.model_validate_json(body)
    return Segmented(
        manifest=answer.manifest,
        manifest_json=answer.manifest.model_dump_json().encode(),
        mask_png=answer.mask_png,
        overlay_webp=answer.overlay_webp,
    )


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
