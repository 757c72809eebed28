"""What goes over the wire: the id, the signature and the headers of one shot."""

import base64
import hashlib
import secrets
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Final

from adapters import signatures
from webhooks.replay.errors import UsageError
from webhooks.replay.messages import Message
from webhooks.replay.redaction import REDACTED


RUN_HEADER: Final = "webhook-replay"
"""Its value is the run's id, so that a receiver can tell a replay from the first delivery."""

_NOT_FORWARDED: Final = frozenset(
    {
        *("host", "content-length", "connection", "keep-alive", "te", "trailer", "upgrade"),
        *("transfer-encoding", "proxy-connection", "proxy-authorization", "expect"),
    }
)
"""Headers of one connection, not of the message."""


class Signing(StrEnum):
    """How a shot is signed."""

    FRESH = "fresh"
    """With the secret, now."""
    NONE = "none"
    """Without webhook-signature."""
    BAD = "bad"
    """With a secret that nobody knows."""
    PRESERVE = "preserve"
    """Bytes and headers as recorded, timestamp included."""


_SIGNERS: Final = {
    Signing.NONE: "nothing",
    Signing.BAD: "a secret that nobody knows",
    Signing.PRESERVE: "what was recorded",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Seal:
    """How the shots of one run are made."""

    run: str
    signing: Signing = Signing.FRESH
    new_id: bool = False
    secret: str | None = None
    """For every message: the operator said so."""
    given_by: str = "--secret"
    """What the operator said it by."""
    of_endpoints: Mapping[str, Sequence[str]] = field(default_factory=dict)
    """Each customer's own."""
    otherwise: str | None = None
    """REPLAY_SECRET, for messages that belong to no endpoint."""
    extra: tuple[tuple[str, str], ...] = ()
    """More headers to send."""

    def headers(self, message: Message, copy: int) -> tuple[str, list[tuple[str, str]]]:
        """The id and the headers of *message*'s shot number *copy*. Raises: UsageError."""
        if self.signing is Signing.PRESERVE:
            return message.id, [*preserved(message), *self.extra]
        sent_id = self._new_id(message, copy) if self.new_id else message.id
        return sent_id, [
            ("content-type", "application/json"),
            ("user-agent", "s3-replay"),
            *self._proof(message, sent_id),
            (RUN_HEADER, self.run),
            *self.extra,
        ]

    def _proof(self, message: Message, sent_id: str) -> list[tuple[str, str]]:
        now = int(time.time())
        if self.signing is Signing.NONE:
            return [(signatures.ID_HEADER, sent_id), (signatures.TIMESTAMP_HEADER, str(now))]
        by = [unknown_secret()] if self.signing is Signing.BAD else self.secrets_for(message)
        return list(signatures.signed_headers(by, sent_id, now, message.body).items())

    def secrets_for(self, message: Message) -> Sequence[str]:
        """What signs *message*. Raises: UsageError when nothing does."""
        if self.secret:
            return (self.secret,)
        if message.endpoint_id:
            found = self.of_endpoints.get(message.endpoint_id, ())
        else:
            found = (self.otherwise,) if self.otherwise else ()
        if not found:
            msg = f"Nothing can sign {message.id}. Give --secret, or say --sign none."
            raise UsageError(msg)
        return found

    def signer(self, message: Message) -> str:
        """What the plan calls that which signs *message*."""
        if self.signing is not Signing.FRESH:
            return _SIGNERS[self.signing]
        if self.secret:
            return self.given_by
        return "the endpoint's own secrets" if message.endpoint_id else "REPLAY_SECRET"

    def _new_id(self, message: Message, copy: int) -> str:
        # Of run and shot, so that a resumed run makes the same one for the same shot.
        made = hashlib.sha256(f"{self.run}/{message.id}/{copy}".encode()).hexdigest()
        return f"msg_{made[:32]}"


def preserved(message: Message) -> list[tuple[str, str]]:
    """The recorded headers that belong to the message. Raises: UsageError when there are none."""
    if not message.headers:
        msg = "--preserve needs a recorded file: the outbox and the rows keep no headers."
        raise UsageError(msg)
    return [
        (name, value)
        for name, value in message.headers
        if name.lower() not in _NOT_FORWARDED and value != REDACTED
    ]


def unknown_secret() -> str:
    """A secret made this moment."""
    return "whsec_" + base64.b64encode(secrets.token_bytes(32)).decode()
