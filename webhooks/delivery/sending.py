"""One attempt: a signed POST to an address that a stranger chose."""

import asyncio
import contextlib
import time
from types import TracebackType
from typing import Final, Self

import aiohttp
from aiohttp.abc import AbstractResolver

from adapters import guard, signatures
from webhooks.delivery import answers
from webhooks.delivery.answers import Answer
from webhooks.delivery.outbox import Delivery


USER_AGENT: Final = "S3-Webhooks/1.0"

CONNECT_SECONDS: Final = 5.0

ANSWER_BODY_SECONDS: Final = 2.0
"""For the first bytes after the status; a receiver that drips them is not waited for."""


class Sender:
    """
    An async context manager around one pool of connections, which keeps nothing of any receiver:
    no cookies, no redirects, no proxy of the environment, no decompression.
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
        """Open the pool; connections come with the first attempt."""
        self._http = aiohttp.ClientSession(
            connector=guard.connector(allow_private=self._allow_private, resolver=self._resolver),
            timeout=aiohttp.ClientTimeout(
                total=self._timeout_seconds, sock_connect=CONNECT_SECONDS
            ),
            # Receivers belong to different customers; what one sets, no other may get.
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

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Close all connections."""
        if self._http is not None:
            await self._http.close()

    async def send(self, delivery: Delivery) -> Answer:
        """Post *delivery*, signed for this moment by every secret. Never raises for its fate."""
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
                text=answers.excerpt(await _start_of(answer)),
                retry_after_seconds=answers.retry_after(answer.headers.get("Retry-After")),
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
"""For the owner of the endpoint, the first that fits; never the error's own words."""


async def _start_of(answer: aiohttp.ClientResponse) -> bytes:
    """The first bytes of the body; the status is known, so no fault here changes the outcome."""
    start = bytearray()
    with contextlib.suppress(aiohttp.ClientError, OSError):
        async with asyncio.timeout(ANSWER_BODY_SECONDS):
            while len(start) < answers.KEPT_BYTES:
                chunk = await answer.content.read(answers.KEPT_BYTES - len(start))
                if not chunk:
                    break
                start += chunk
    return bytes(start)


def _since(begun: float) -> int:
    return round((time.monotonic() - begun) * 1000)
