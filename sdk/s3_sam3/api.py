"""HTTP to the public API: a call gives a typed answer; errors of httpx become ours here."""

from collections.abc import AsyncIterator, Mapping
from http import HTTPStatus
from typing import Any, Final, TypeVar

import httpx
import tenacity
from pydantic import BaseModel

from s3_sam3 import errors
from s3_sam3.contracts.bodies import Envelope
from s3_sam3.contracts.errors import FACTS, ErrorCode
from s3_sam3.session import Session


Data = TypeVar("Data", bound=BaseModel)

_GATEWAY_FAULTS: Final = {
    HTTPStatus.BAD_GATEWAY,
    HTTPStatus.SERVICE_UNAVAILABLE,
    HTTPStatus.GATEWAY_TIMEOUT,
}


class Api:
    """The API as one user; keeps its connections."""

    def __init__(self, *, url: str, session: Session) -> None:
        self.url = url.rstrip("/")
        self._session = session
        self._http = httpx.AsyncClient(timeout=httpx.Timeout(30.0, connect=5.0))

    async def call(
        self,
        method: str,
        path: str,
        answer: type[Data],
        *,
        json: Any = None,
        content: bytes | None = None,
        params: Mapping[str, Any] | None = None,
        headers: Mapping[str, str] | None = None,
        repeatable: bool = True,
    ) -> Data:
        """
        Make one call and unwrap its envelope; parameters that are None are not sent.

        A call that is not *repeatable* is sent once, whatever fails.
        Raises ApiError or Unreachable.
        """
        given = {name: str(value) for name, value in (params or {}).items() if value is not None}
        stop = _RETRIES.stop if repeatable else tenacity.stop_after_attempt(1)
        async for attempt in _RETRIES.copy(stop=stop):
            with attempt:
                response = await self._send(
                    method, path, json=json, content=content, params=given, headers=headers
                )
                return _unwrap(response, answer)
        raise AssertionError  # tenacity re-raises the last error

    async def download(self, url: str) -> AsyncIterator[bytes]:
        """Stream an object by its signed URL; no token is sent."""
        try:
            async with self._http.stream("GET", url) as response:
                if response.is_error:
                    await response.aread()
                    raise _not_an_envelope(response)
                async for chunk in response.aiter_bytes():
                    yield chunk
        except httpx.TransportError as error:
            raise errors.Unreachable(url.split("?", maxsplit=1)[0], _reason(error)) from error

    async def close(self) -> None:
        await self._http.aclose()

    async def _send(
        self, method: str, path: str, *, headers: Mapping[str, str] | None, **kwargs: Any
    ) -> httpx.Response:
        token = await self._session.access_token()
        try:
            return await self._http.request(
                method,
                self.url + path,
                headers={**(headers or {}), "Authorization": f"Bearer {token}"},
                **kwargs,
            )
        except httpx.TransportError as error:
            raise errors.Unreachable(self.url, _reason(error)) from error


def _unwrap(response: httpx.Response, answer: type[Data]) -> Data:
    try:
        envelope = Envelope[answer].model_validate_json(response.content)  # type: ignore[valid-type]  # the answer's type is a value here
    except ValueError as error:
        raise _not_an_envelope(response) from error
    if envelope.error is not None:
        raise errors.ApiError(
            status=response.status_code,
            request_id=envelope.meta.request_id,
            **envelope.error.model_dump(),
        )
    if envelope.data is None:
        raise _not_an_envelope(response)
    data: Data = envelope.data
    return data


def _not_an_envelope(response: httpx.Response) -> errors.ApiError:
    return errors.ApiError(
        status=response.status_code,
        code=ErrorCode.UPSTREAM_UNAVAILABLE,
        message=f"{response.url.host} answered {response.status_code} without S3's envelope.",
        retryable=response.status_code in _GATEWAY_FAULTS,
    )


def _is_passing(error: BaseException) -> bool:
    if isinstance(error, errors.Unreachable):
        return True
    # `rate_limited` is left to the caller: the wait can be long.
    return (
        isinstance(error, errors.ApiError)
        and error.retryable
        and error.status == FACTS[ErrorCode.UPSTREAM_UNAVAILABLE].status
    )


def _reason(error: httpx.TransportError) -> str:
    return str(error) or type(error).__name__


_RETRIES = tenacity.AsyncRetrying(
    # Safe to repeat: reads, uploads (named by their content), submits (they carry an
    # Idempotency-Key), deletes (the second answers `not_found`).
    retry=tenacity.retry_if_exception(_is_passing),
    wait=tenacity.wait_random_exponential(multiplier=0.2, max=5),
    stop=tenacity.stop_after_attempt(4),
    reraise=True,
)
