"""
Objects by signed URLs, for a host that holds no keys of the store.

The errors are those of `adapters.objects`. A URL is a secret while it lasts, so none stands in an
error or a log.
"""

import contextlib
from collections.abc import Iterator, Mapping
from types import TracebackType
from typing import Final, Self

import aiohttp
import tenacity
from yarl import URL

from adapters.objects import (
    ObjectNotFound,
    ObjectRefused,
    ObjectStoreUnavailable,
    ObjectTooLarge,
)


_TIMEOUT: Final = aiohttp.ClientTimeout(total=None, sock_connect=5, sock_read=30)
_CHUNK_BYTES: Final = 256 * 1024
_REDIRECTS: Final = 300
_SERVER_FAULT: Final = 500
_NOT_FOUND: Final = 404
_TOO_MANY: Final = 429


class SignedUrls:
    """An async context manager around one pool of connections to the store."""

    def __init__(self) -> None:
        self._http: aiohttp.ClientSession | None = None

    async def __aenter__(self) -> Self:
        """Open the pool; connections come with the first call."""
        self._http = aiohttp.ClientSession(
            timeout=_TIMEOUT, auto_decompress=False, cookie_jar=aiohttp.DummyCookieJar()
        )
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Close the connections."""
        if self._http is not None:
            await self._http.close()

    async def get(self, url: str, *, max_bytes: int) -> bytes:
        """
        Read an object.

        Raises: ObjectNotFound, ObjectTooLarge (over *max_bytes*), ObjectRefused (the URL's time
        is over, or it is for something else), ObjectStoreUnavailable.
        """
        async for attempt in _retrying():
            with attempt, _translated():
                # Encoded already: what is signed is the path and query as they stand.
                async with self._open.get(URL(url, encoded=True)) as answer:
                    _check(answer)
                    return await _body(answer, max_bytes)
        raise AssertionError  # tenacity returns or raises

    async def put(self, url: str, data: bytes, headers: Mapping[str, str]) -> None:
        """
        Write an object; *headers* are those that were signed.

        Raises: ObjectRefused (as for `get`), ObjectStoreUnavailable.
        """
        async for attempt in _retrying():
            with attempt, _translated():
                async with self._open.put(
                    URL(url, encoded=True), data=data, headers=headers
                ) as answer:
                    _check(answer)

    @property
    def _open(self) -> aiohttp.ClientSession:
        if self._http is None:
            msg = "SignedUrls is not open"
            raise RuntimeError(msg)
        return self._http


@contextlib.contextmanager
def _translated() -> Iterator[None]:
    """The one seam where aiohttp's errors become ours; its words may hold the URL."""
    try:
        yield
    except (aiohttp.ClientError, OSError) as error:
        raise ObjectStoreUnavailable(type(error).__name__) from None


def _check(answer: aiohttp.ClientResponse) -> None:
    if answer.status < _REDIRECTS:
        return
    if answer.status == _NOT_FOUND:
        raise ObjectNotFound(str(answer.status))
    if answer.status >= _SERVER_FAULT or answer.status == _TOO_MANY:
        raise ObjectStoreUnavailable(str(answer.status))
    raise ObjectRefused(str(answer.status))


async def _body(answer: aiohttp.ClientResponse, max_bytes: int) -> bytes:
    """All of it, not a byte more than *max_bytes*, whatever the headers say."""
    whole = bytearray()
    async for chunk in answer.content.iter_chunked(_CHUNK_BYTES):
        whole += chunk
        if len(whole) > max_bytes:
            raise ObjectTooLarge
    return bytes(whole)


def _retrying() -> tenacity.AsyncRetrying:
    """Reading and writing an object twice is the same as once."""
    return tenacity.AsyncRetrying(
        stop=tenacity.stop_after_attempt(3),
        wait=tenacity.wait_random_exponential(multiplier=0.1, max=1.0),
        retry=tenacity.retry_if_exception_type(ObjectStoreUnavailable),
        reraise=True,
    )
