"""
Standard Webhooks 1.0: how a webhook proves who sent it, and when.

    SignatureError
    ├── BadSecret          a secret is not `whsec_` and base64; a fault of the settings
    ├── MissingHeader      one of the three headers is absent or empty
    ├── BadTimestamp       webhook-timestamp is no whole number of seconds
    ├── OldTimestamp       sent too long ago: perhaps replayed
    ├── FutureTimestamp    sent too far ahead of this clock
    └── WrongSignature     no signature in the header is of any of the secrets

HMAC-SHA256 signs the bytes `id.timestamp.body`. Verify the body as it came over the wire:
parsed and serialised again it may have other bytes.
"""

import base64
import binascii
import hashlib
import hmac
import secrets as random_secrets
from collections.abc import Iterable, Mapping
from typing import Final


ID_HEADER: Final = "webhook-id"
TIMESTAMP_HEADER: Final = "webhook-timestamp"
SIGNATURE_HEADER: Final = "webhook-signature"

TOLERANCE_SECONDS: Final = 300
"""How far a sender's clock may be from ours, in either direction."""

_SECRET_PREFIX: Final = "whsec_"  # noqa: S105 - a prefix, no secret
_VERSION_PREFIX: Final = "v1,"
_MAX_SIGNATURES: Final = 32
_MAX_TIMESTAMP_DIGITS: Final = 15


class SignatureError(Exception):
    """The webhook does not prove who sent it."""


class BadSecret(SignatureError):
    """A webhook secret must be `whsec_` and base64."""


class MissingHeader(SignatureError):
    """A header of the signature is missing; the message names it."""


class BadTimestamp(SignatureError):
    """webhook-timestamp is not a whole number of seconds since 1970."""


class OldTimestamp(SignatureError):
    """The webhook was signed too long ago."""


class FutureTimestamp(SignatureError):
    """The webhook was signed in the future."""


class WrongSignature(SignatureError):
    """No signature fits the body and a secret."""


def sign(secrets: Iterable[str], webhook_id: str, timestamp: int, body: bytes) -> str:
    """
    The value of webhook-signature: one `v1,<base64>` for each secret, separated by spaces.

    *timestamp* is in seconds since 1970. Raises: BadSecret.
    """
    return " ".join(_signature(secret, webhook_id, timestamp, body) for secret in secrets)


def signed_headers(
    secrets: Iterable[str], webhook_id: str, timestamp: int, body: bytes
) -> dict[str, str]:
    """The three headers that go with *body*. Raises: BadSecret."""
    return {
        ID_HEADER: webhook_id,
        TIMESTAMP_HEADER: str(timestamp),
        SIGNATURE_HEADER: sign(secrets, webhook_id, timestamp, body),
    }


def verify(
    secrets: Iterable[str],
    headers: Mapping[str, str],
    body: bytes,
    now: float,
    tolerance_seconds: float = TOLERANCE_SECONDS,
) -> str:
    """
    The webhook's id, if one of *secrets* signed *body* at about *now* (seconds since 1970).

    Header names may be in any case. Raises: SignatureError and its leaves.
    """
    named = {name.lower(): value for name, value in headers.items()}
    webhook_id = _required(named, ID_HEADER)
    timestamp = _timestamp(_required(named, TIMESTAMP_HEADER), now, tolerance_seconds)
    offered = _required(named, SIGNATURE_HEADER).split(" ", _MAX_SIGNATURES)[:_MAX_SIGNATURES]
    for secret in secrets:
        expected = _signature(secret, webhook_id, timestamp, body).encode()
        # A signature of another version never equals ours, so this comparison skips it.
        for signature in offered:
            if hmac.compare_digest(expected, signature.encode(errors="surrogateescape")):
                return webhook_id
    raise WrongSignature(webhook_id)


def new_secret() -> str:
    """A random secret of 256 bits."""
    return _SECRET_PREFIX + base64.b64encode(random_secrets.token_bytes(32)).decode()


def check_secret(secret: str) -> str:
    """*secret*, if it can sign. Raises: BadSecret."""
    _key(secret)
    return secret


def _required(headers: Mapping[str, str], name: str) -> str:
    value = headers.get(name, "")
    if not value:
        raise MissingHeader(name)
    return value


def _timestamp(text: str, now: float, tolerance_seconds: float) -> int:
    if not (text.isascii() and text.isdigit() and len(text) <= _MAX_TIMESTAMP_DIGITS):
        raise BadTimestamp
    timestamp = int(text)
    # The signature covers the digits as `str` writes them; "007" is another text of the same value.
    if str(timestamp) != text:
        raise BadTimestamp
    if timestamp < now - tolerance_seconds:
        raise OldTimestamp
    if timestamp > now + tolerance_seconds:
        raise FutureTimestamp
    return timestamp


def _signature(secret: str, webhook_id: str, timestamp: int, body: bytes) -> str:
    signed = b"%s.%d.%s" % (webhook_id.encode(errors="surrogateescape"), timestamp, body)
    digest = hmac.digest(_key(secret), signed, hashlib.sha256)
    return _VERSION_PREFIX + base64.b64encode(digest).decode()


def _key(secret: str) -> bytes:
    if not secret.startswith(_SECRET_PREFIX):
        raise BadSecret(BadSecret.__doc__)
    try:
        key = base64.b64decode(secret.removeprefix(_SECRET_PREFIX), validate=True)
    except (binascii.Error, ValueError):
        raise BadSecret(BadSecret.__doc__) from None
    if not key:
        raise BadSecret(BadSecret.__doc__)
    return key
