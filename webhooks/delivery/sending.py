"""One attempt: a signed POST to an address that a user chose."""

import asyncio
import contextlib
import time
from datetime import datetime
from typing import Final, Self

import aiohttp
from aiohttp.abc import AbstractResolver

from adapters import guard
from adapters.retrying import seconds_of
from s3_sam3 import signatures
from webhooks.delivery.outbox import Answer, Delivery


USER_AGENT: Final = "S3-Webhooks/1.0"

CONNECT_SECONDS: Final = 5.0

ANSWER_BODY_SECONDS: Final = 2.0
"""For the first bytes of the body; a receiver that sends them slowly is not waited for."""

KEPT_CHARACTERS: Final = 1024

KEPT_BYTES: Final = 4 * KEPT_CHARACTERS
"""No character takes more bytes in UTF-8."""

LONGEST_RETRY_AFTER_SECONDS: Final = 86_400


class Sender:
    """
    An async context manager around one pool of connections.

    No cookies, no redirects, no proxy of the environment, no decompression.
    """

    def __init__(
        self,
        *,
        timeout_seconds: float,
        allow_private: bool = False,
        resolver: AbstractResolver | None = None,
    ) -> None:
        self._timeout_seconds = timeout_seconds
        self._allow_private = allow_private
        self._resolver = resolver
        self._http: aiohttp.ClientSession | None = None

    async def __aenter__(self) -> Self:
        self._http = aiohttp.ClientSession(
            connector=guard.connector(allow_private=self._allow_private, resolver=self._resolver),
            timeout=aiohttp.ClientTimeout(
                total=self._timeout_seconds, sock_connect=CONNECT_SECONDS
            ),
            # Receivers belong to different users: none may get another's cookies.
            cookie_jar=aiohttp.DummyCookieJar(),
            auto_decompress=False,
            trust_env=False,
            headers={
                "Content-Type": "application/json",
                "User-Agent": USER_AGENT,
                "Accept-Encoding": "identity",
            },
        )
        return self

    async def __aexit__(self, *_: object) -> None:
        if self._http is not None:
            await self._http.close()

    async def send(self, delivery: Delivery) -> Answer:
        """Post *delivery*, signed now with every secret. A failed attempt is an answer too."""
        begun = time.monotonic()
        try:
            return await self._post(delivery, begun)
        except (aiohttp.ClientError, OSError, ValueError, signatures.SignatureError) as error:
            return Answer(latency_ms=_since(begun), error=self._sentence(error))

    async def _post(self, delivery: Delivery, begun: float) -> Answer:
        if self._http is None:
            msg = "the sender is not open"
            raise RuntimeError(msg)
        if not (delivery.url.startswith("https://") or self._allow_private):
            raise guard.AddressRefused
        body = delivery.body.encode()
        headers = signatures.signed_headers(delivery.secrets, delivery.id, int(time.time()), body)
        async with self._http.post(
            delivery.url, data=body, headers=headers, allow_redirects=False
        ) as answer:
            latency_ms = _since(begun)
            return Answer(
                status_code=answer.status,
                latency_ms=latency_ms,
                text=excerpt(await _start_of(answer)),
                retry_after_seconds=retry_after(answer.headers.get("Retry-After")),
            )

    def _sentence(self, error: Exception) -> str:
        if guard.was_refused(error):
            return "The address is not public, or not https."
        if isinstance(error, TimeoutError):
            return f"No answer within {self._timeout_seconds:g} seconds."
        for kind, sentence in _SENTENCES.items():
            if isinstance(error, kind):
                return sentence
        return "The answer was no HTTP, or broke off."


_SENTENCES: Final[dict[type[Exception], str]] = {
    signatures.SignatureError: "The secret cannot sign.",
    aiohttp.InvalidURL: "The URL cannot be used.",
    aiohttp.ClientConnectorDNSError: "The name has no address.",
    aiohttp.ClientSSLError: "No TLS connection: the certificate does not fit, or it is no TLS.",
    aiohttp.ClientConnectorError: "No connection.",
}
"""For the endpoint's owner, the first that fits; the error's own text may name our network."""


async def _start_of(answer: aiohttp.ClientResponse) -> bytes:
    """The first bytes of the body; the status is known, so no fault here changes the outcome."""
    start = bytearray()
    with contextlib.suppress(aiohttp.ClientError, OSError):
        async with asyncio.timeout(ANSWER_BODY_SECONDS):
            while len(start) < KEPT_BYTES:
                chunk = await answer.content.read(KEPT_BYTES - len(start))
                if not chunk:
                    break
                start += chunk
    return bytes(start)


def excerpt(start: bytes) -> str:
    """The first bytes of an answer as text that Postgres can store."""
    return start.decode(errors="replace").replace("\0", "\ufffd")[:KEPT_CHARACTERS]


def retry_after(header: str | None, now: datetime | None = None) -> int | None:
    """
    Seconds to wait by a Retry-After header; at most a day.

    None: there is none, it cannot be read, or its date has passed.
    """
    seconds = seconds_of(header, now)
    return min(seconds, LONGEST_RETRY_AFTER_SECONDS) if seconds else None


def _since(begun: float) -> int:
    return round((time.monotonic() - begun) * 1000)
