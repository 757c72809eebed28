"""
Objects by signed URLs, for a host that holds no keys of the store.

The errors are those of `adapters.objects`. A URL is a secret while it is valid, so no error and no
log holds one.
"""

import contextlib
from collections.abc import Iterator, Mapping
from http import HTTPStatus
from typing import Final, Self

import aiohttp
from yarl import URL

from adapters.objects import (
    ObjectNotFound,
    ObjectRefused,
    ObjectStoreUnavailable,
    ObjectTooLarge,
)
from adapters.retrying import retrying


_TIMEOUT: Final = aiohttp.ClientTimeout(total=None, sock_connect=5, sock_read=30)
_CHUNK_BYTES: Final = 256 * 1024


class SignedUrls:
    """An async context manager around one pool of connections to the store."""

    def __init__(self) -> None:
        """Open nothing yet; call it where a loop runs."""
        self._http = aiohttp.ClientSession(
            timeout=_TIMEOUT, auto_decompress=False, cookie_jar=aiohttp.DummyCookieJar()
        )

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_error: object) -> None:
        await self._http.close()

    async def get(self, url: str, *, max_bytes: int) -> bytes:
        """
        Read an object.

        Raises: ObjectNotFound, ObjectTooLarge (over *max_bytes*), ObjectRefused (the URL's time
        is over, or it is for something else), ObjectStoreUnavailable.
        """

        async def read() -> bytes:
            with _translated():
                async with self._http.get(_as_signed(url)) as answer:
                    _check(answer)
                    return await _body(answer, max_bytes)

        return await retrying(_is_unavailable)(read)

    async def put(self, url: str, data: bytes, headers: Mapping[str, str]) -> None:
        """
        Write an object; *headers* are those that were signed.

        Raises: ObjectRefused (as for `get`), ObjectStoreUnavailable.
        """

        async def write() -> None:
            with _translated():
                async with self._http.put(_as_signed(url), data=data, headers=headers) as answer:
                    _check(answer)

        await retrying(_is_unavailable)(write)


@contextlib.contextmanager
def _translated() -> Iterator[None]:
    """Turn aiohttp's errors into ours, without their messages, which may hold the URL."""
    try:
        yield
    except (aiohttp.ClientError, OSError) as error:
        raise ObjectStoreUnavailable(type(error).__name__) from None


def _check(answer: aiohttp.ClientResponse) -> None:
    if answer.status < HTTPStatus.MULTIPLE_CHOICES:
        return
    if answer.status == HTTPStatus.NOT_FOUND:
        raise ObjectNotFound(str(answer.status))
    if (
        answer.status >= HTTPStatus.INTERNAL_SERVER_ERROR
        or answer.status == HTTPStatus.TOO_MANY_REQUESTS
    ):
        raise ObjectStoreUnavailable(str(answer.status))
    raise ObjectRefused(str(answer.status))


async def _body(answer: aiohttp.ClientResponse, max_bytes: int) -> bytes:
    """Read to the end, but never more than *max_bytes*, whatever the headers say."""
    whole = bytearray()
    async for chunk in answer.content.iter_chunked(_CHUNK_BYTES):
        whole += chunk
        if len(whole) > max_bytes:
            raise ObjectTooLarge
    return bytes(whole)


def _as_signed(url: str) -> URL:
    """Keep path and query as they are: encoding them again would break the signature."""
    return URL(url, encoded=True)


def _is_unavailable(error: BaseException) -> bool:
    """Reading or writing an object twice is the same as once, so any such error may pass."""
    return isinstance(error, ObjectStoreUnavailable)
