"""One POST, and what came back."""

import asyncio
import time
from collections.abc import Iterable
from dataclasses import dataclass
from http import HTTPStatus
from typing import Final, Self

import aiohttp
from aiohttp.abc import AbstractResolver
from multidict import CIMultiDict
from yarl import URL

from adapters import guard
from adapters.retry_after import seconds_of
from s3_sam3.messages import Attempt
from webhooks.replay.selection import is_literal


ANSWER_BYTES: Final = 16 * 1024
"""How much of an answer is kept."""

NO_DEFAULT_HEADERS: Final = ("Accept", "Accept-Encoding", "Content-Type", "User-Agent")
"""aiohttp would add them; only the message's own headers are sent."""

_BUSY: Final = (HTTPStatus.TOO_MANY_REQUESTS, HTTPStatus.SERVICE_UNAVAILABLE)


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """An attempt, and for how many seconds the receiver asks to wait."""

    attempt: Attempt
    retry_after_seconds: int | None = None


class Sender:
    """
    Shared connections; redirects are answers, not followed. An async context manager.

    *guarded*: a name that a user chose must lead to public addresses; an address that the operator
    allowed is called as it is. *resolver* replaces the system's.
    """

    def __init__(
        self, *, timeout_seconds: float, guarded: bool, resolver: AbstractResolver | None = None
    ) -> None:
        # One session for names, one for addresses; the caller limits the open requests.
        self._named = _session(timeout_seconds, allow_private=not guarded, resolver=resolver)
        self._literal = _session(timeout_seconds, allow_private=True)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._named.close()
        await self._literal.close()

    async def post(self, url: URL, headers: Iterable[tuple[str, str]], body: bytes) -> Answer:
        """Send exactly these bytes and headers; a network failure is an attempt without status."""
        begun = time.monotonic()
        http = self._literal if is_literal(url.host or "") else self._named
        try:
            async with http.post(
                url, data=body, headers=CIMultiDict(headers), allow_redirects=False
            ) as response:
                answer = await _first_bytes(response.content)
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            refused = guard.was_refused(error)
            reason = guard.AddressRefused.__name__ if refused else type(error).__name__
            return Answer(attempt=Attempt(status=None, latency_ms=_since(begun), error=reason))
        asked = response.headers.get("Retry-After") if response.status in _BUSY else None
        return Answer(
            attempt=Attempt(status=response.status, latency_ms=_since(begun), answer=answer),
            retry_after_seconds=seconds_of(asked),
        )


def _session(
    timeout_seconds: float, *, allow_private: bool, resolver: AbstractResolver | None = None
) -> aiohttp.ClientSession:
    return aiohttp.ClientSession(
        timeout=aiohttp.ClientTimeout(total=timeout_seconds),
        connector=guard.connector(allow_private=allow_private, resolver=resolver),
        skip_auto_headers=NO_DEFAULT_HEADERS,
        # Answers are compared with recorded ones, byte by byte.
        auto_decompress=False,
        # No receiver gets another's cookies.
        cookie_jar=aiohttp.DummyCookieJar(),
    )


async def _first_bytes(content: aiohttp.StreamReader) -> bytes:
    try:
        return await content.readexactly(ANSWER_BYTES)
    except asyncio.IncompleteReadError as error:
        return error.partial


def _since(begun: float) -> int:
    return round((time.monotonic() - begun) * 1000)
