"""What a receiver answered, as far as it is kept."""

from dataclasses import dataclass
from datetime import datetime
from http import HTTPStatus
from typing import Final

from adapters.retry_after import seconds_of


KEPT_CHARACTERS: Final = 1024

KEPT_BYTES: Final = 4 * KEPT_CHARACTERS
"""No character takes more bytes in UTF-8."""

LONGEST_RETRY_AFTER_SECONDS: Final = 86_400


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """What came of one attempt."""

    latency_ms: int
    """Until the status came, or until it was given up."""
    status_code: int | None = None
    """None: there was no answer, and `error` says why."""
    text: str | None = None
    """The answer's first 1024 characters."""
    error: str | None = None
    """A sentence for the endpoint's owner; it tells nothing about our network."""
    retry_after_seconds: int | None = None

    @property
    def delivered(self) -> bool:
        """Whether the receiver has it: any 2xx, and nothing else."""
        return self.status_code is not None and HTTPStatus.OK <= self.status_code < _REDIRECTS

    @property
    def gone(self) -> bool:
        """Whether the receiver wants nothing more, ever."""
        return self.status_code == HTTPStatus.GONE

    @property
    def asks_for_time(self) -> bool:
        """Whether the receiver wants nothing at all for a while, this delivery or another."""
        return self.status_code in _BUSY and self.retry_after_seconds is not None


_REDIRECTS: Final = 300
_BUSY: Final = (HTTPStatus.TOO_MANY_REQUESTS, HTTPStatus.SERVICE_UNAVAILABLE)


def excerpt(start: bytes) -> str:
    """The first bytes of an answer as text that Postgres can keep, whatever they are."""
    return start.decode(errors="replace").replace("\0", "\ufffd")[:KEPT_CHARACTERS]


def retry_after(header: str | None, now: datetime | None = None) -> int | None:
    """
    Seconds to wait by a Retry-After header, in seconds or as an HTTP date; at most a day.

    None: there is none, or it cannot be read, or its moment has passed.
    """
    seconds = seconds_of(header, now)
    return min(seconds, LONGEST_RETRY_AFTER_SECONDS) if seconds else None
