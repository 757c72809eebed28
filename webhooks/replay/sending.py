"""One POST, and what came back."""

import asyncio
import time
from collections.abc import Iterable
from dataclasses import dataclass
from types import TracebackType
from typing import Final, Self

import aiohttp
from aiohttp.abc import AbstractResolver
from multidict import CIMultiDict
from yarl import URL

from adapters import guard
from adapters.retry_after import seconds_of
from webhooks.replay.messages import Attempt
from webhooks.replay.targets import is_literal


ANSWER_BYTES: Final = 16 * 1024
"""So much of an answer is kept."""

_NONE_OF_ITS_OWN: Final = ("Accept", "Accept-Encoding", "Content-Type", "User-Agent")
_ASKS_TO_WAIT: Final = frozenset({429, 503})


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """An attempt, and for how many seconds the receiver asks to be left alone."""

    attempt: Attempt
    retry_after_seconds: int | None = None


class Sender:
    """
    Shared connections; redirects are answers, not followed. An async context manager.

    *guarded*: a name that customers chose must lead to public addresses; an address that the
    operator allowed by itself is called as it is. *resolver*: instead of the system's.
    """

    def __init__(
        self, *, timeout_seconds: float, guarded: bool, resolver: AbstractResolver | None = None
    ) -> None:
        # The names and the addresses; how many requests are open is the caller's business.
        self._named = _session(timeout_seconds, allow_private=not guarded, resolver=resolver)
        self._literal = _session(timeout_seconds, allow_private=True)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self._named.close()
        await self._literal.close()

    async def post(self, url: URL, headers: Iterable[tuple[str, str]], body: bytes) -> Answer:
        """Send exactly these bytes and headers; a network failure is an attempt without status."""
        began = time.monotonic()
        http = self._literal if is_literal(url.host or "") else self._named
        try:
            async with http.post(
                url, data=body, headers=CIMultiDict(headers), allow_redirects=False
            ) as response:
                answer = await _first_bytes(response.content)
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            refused = guard.was_refused(error)
            reason = guard.AddressRefused.__name__ if refused else type(error).__name__
            return Answer(attempt=Attempt(status=None, latency_ms=_since(began), error=reason))
        asked = response.headers.get("Retry-After") if response.status in _ASKS_TO_WAIT else None
        return Answer(
            attempt=Attempt(status=response.status, latency_ms=_since(began), answer=answer),
            retry_after_seconds=seconds_of(asked),
        )


def _session(
    timeout_seconds: float, *, allow_private: bool, resolver: AbstractResolver | None = None
) -> aiohttp.ClientSession:
    return aiohttp.ClientSession(
        timeout=aiohttp.ClientTimeout(total=timeout_seconds),
        connector=guard.connector(allow_private=allow_private, resolver=resolver),
        skip_auto_headers=_NONE_OF_ITS_OWN,
        # What came is compared with what was recorded, byte by byte.
        auto_decompress=False,
        # A cookie of one receiver is nothing for the next.
        cookie_jar=aiohttp.DummyCookieJar(),
    )


async def _first_bytes(content: aiohttp.StreamReader) -> bytes:
    try:
        return await content.readexactly(ANSWER_BYTES)
    except asyncio.IncompleteReadError as error:
        return error.partial


def _since(began: float) -> int:
    return round((time.monotonic() - began) * 1000)
