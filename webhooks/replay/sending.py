"""One send: its id, signature and headers; one POST, and what came back."""

import asyncio
import hashlib
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from http import HTTPStatus
from typing import Final, Self

import aiohttp
from aiohttp.abc import AbstractResolver
from multidict import CIMultiDict
from yarl import URL

from adapters import guard
from adapters.retrying import seconds_of
from s3_sam3 import signatures
from s3_sam3.messages import Attempt, Message
from s3_sam3.recordings import REDACTED
from webhooks.replay import UsageError
from webhooks.replay.selection import is_literal


RUN_HEADER: Final = "webhook-replay"
"""Its value is the run's id, so that a receiver can tell a replay from the first delivery."""

CONNECTION_HEADERS: Final = frozenset(
    {
        *("host", "connection", "keep-alive", "te", "trailer", "upgrade", "expect"),
        *("content-length", "transfer-encoding", "proxy-connection"),
        *("proxy-authenticate", "proxy-authorization"),
    }
)
"""Headers of one connection, not of the message; the next connection makes its own."""


class Signing(StrEnum):
    FRESH = "fresh"
    """With the secret, now."""
    NONE = "none"
    """Without webhook-signature."""
    BAD = "bad"
    """With a secret that nobody knows."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Signer:
    run: str
    signing: Signing = Signing.FRESH
    preserve: bool = False
    """Send the recorded headers, timestamp and signature included."""
    new_id: bool = False
    secret: str | None = None
    """Signs every message, because the operator said so."""
    secret_option: str = "--secret"  # noqa: S105 - the option's name
    """How the operator gave it."""
    endpoint_secrets: Mapping[str, Sequence[str]] = field(default_factory=dict)
    """Each user's own, by endpoint."""
    otherwise: str | None = None
    """REPLAY_SECRET, for messages that belong to no endpoint."""
    extra_headers: tuple[tuple[str, str], ...] = ()

    @property
    def uses_secrets(self) -> bool:
        return not self.preserve and self.signing is Signing.FRESH

    def headers(self, message: Message, copy: int) -> tuple[str, list[tuple[str, str]]]:
        """The id and the headers of *message*, sent for the time *copy*. Raises: UsageError."""
        if self.preserve:
            return message.id, [*_recorded_headers(message), *self.extra_headers]
        sent_id = self._new_id(message, copy) if self.new_id else message.id
        return sent_id, [
            ("content-type", "application/json"),
            ("user-agent", "s3-replay"),
            *self._signature(message, sent_id),
            (RUN_HEADER, self.run),
            *self.extra_headers,
        ]

    def check(self, message: Message) -> None:
        """Raise UsageError if *message* cannot be signed, or has nothing to preserve."""
        if self.preserve:
            _recorded_headers(message)
        elif self.signing is Signing.FRESH:
            self._secrets_for(message)

    def describe(self, message: Message) -> str:
        """What signs *message*, for the plan."""
        if self.preserve:
            return "what was recorded"
        if self.signing is Signing.NONE:
            return "nothing"
        if self.signing is Signing.BAD:
            return "a secret that nobody knows"
        if self.secret:
            return self.secret_option
        return "the endpoint's own secrets" if message.endpoint_id else "REPLAY_SECRET"

    def _signature(self, message: Message, sent_id: str) -> list[tuple[str, str]]:
        now = int(time.time())
        if self.signing is Signing.NONE:
            return [(signatures.ID_HEADER, sent_id), (signatures.TIMESTAMP_HEADER, str(now))]
        bad = self.signing is Signing.BAD
        secrets = [signatures.new_secret()] if bad else self._secrets_for(message)
        return list(signatures.signed_headers(secrets, sent_id, now, message.body).items())

    def _secrets_for(self, message: Message) -> Sequence[str]:
        if self.secret:
            return (self.secret,)
        if message.endpoint_id:
            found = self.endpoint_secrets.get(message.endpoint_id, ())
        else:
            found = (self.otherwise,) if self.otherwise else ()
        if not found:
            msg = f"Nothing can sign {message.id}. Give --secret, or --sign none."
            raise UsageError(msg)
        return found

    def _new_id(self, message: Message, copy: int) -> str:
        # The same for the same send, also in a resumed run.
        digest = hashlib.sha256(f"{self.run}/{message.id}/{copy}".encode()).hexdigest()
        return f"msg_{digest[:32]}"


def _recorded_headers(message: Message) -> list[tuple[str, str]]:
    if not message.headers:
        msg = "--preserve needs a recorded file: the outbox and the rows keep no headers."
        raise UsageError(msg)
    return [
        (name, value)
        for name, value in message.headers
        if name.lower() not in CONNECTION_HEADERS and value != REDACTED
    ]


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
