"""Signs a message: the id, the signature and the headers of one send."""

import hashlib
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Final

from s3_sam3 import signatures
from s3_sam3.messages import Message
from s3_sam3.recordings import REDACTED
from webhooks.replay import UsageError


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
