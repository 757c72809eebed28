"""
Which messages are meant, and where may be sent to: what the operator typed, and named hosts.

A message's own URL comes from a user. That it leads to this machine is no permission: the user
would reach the operator's machine.
"""

import fnmatch
import ipaddress
from collections.abc import Collection, Iterable
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from http import HTTPStatus
from typing import Final

from yarl import URL

from adapters.guard import is_public
from s3_sam3.messages import DeliveryState, Message, is_named, is_this_machine
from webhooks.replay import UsageError


_CODE_LENGTH: Final = 3


class Mode(StrEnum):
    RECOVER = "recover"
    """The last attempt failed."""
    MISSING = "missing"
    """There never was an attempt."""
    ALL = "all"


_STATES: Final = {
    Mode.RECOVER: {DeliveryState.FAILED},
    Mode.MISSING: {DeliveryState.MISSING},
    Mode.ALL: set(DeliveryState),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Selection:
    """Filters; each one that is given must match."""

    mode: Mode = Mode.ALL
    since: datetime | None = None
    """Not before."""
    until: datetime | None = None
    """Before."""
    ids: tuple[str, ...] = ()
    tasks: tuple[str, ...] = ()
    types: tuple[str, ...] = ()
    """Exact, or with `*`: `task.*`."""
    code: str | None = None
    """Of the last answer: `503`, `5xx`, or `none` for no answer."""
    limit: int | None = None
    """The oldest so many."""

    def of(self, messages: Iterable[Message]) -> list[Message]:
        """The messages that match, oldest first."""
        found = sorted(
            (message for message in messages if self.matches(message)),
            key=lambda message: (message.created_at, message.id),
        )
        return found[: self.limit]

    def matches(self, message: Message) -> bool:
        """Whether every filter but the limit matches."""
        return (
            message.state in _STATES[self.mode]
            and self._in_time(message.created_at)
            and (not self.ids or message.id in self.ids)
            and (not self.tasks or message.key in self.tasks)
            and (not self.types or any(fnmatch.fnmatchcase(message.type, t) for t in self.types))
            and (self.code is None or _code_matches(self.code, message))
        )

    def _in_time(self, moment: datetime) -> bool:
        return (self.since is None or moment >= self.since) and (
            self.until is None or moment < self.until
        )


def _code_matches(code: str, message: Message) -> bool:
    if message.last is None:
        return False
    if message.last.status is None:
        return code == "none"
    status = str(message.last.status)
    return len(code) == _CODE_LENGTH and all(
        wanted in {"x", digit} for wanted, digit in zip(code.lower(), status, strict=True)
    )


class Exclusion(StrEnum):
    DISABLED = "disabled"
    """Its endpoint was switched off, or answered 410: it wants nothing more."""
    INSIDE = "inside"
    """Its endpoint's URL is an address of this machine or its network."""


def checked(url: str, allowed: Collection[str], *, typed: bool) -> URL:
    """
    *url*, if its host is in *allowed*, or is this machine and the operator *typed* it.

    Raises: UsageError, also for no http URL, or one with a password in it.
    """
    target = http_url(url)
    host = target.host or ""
    if is_named(host, allowed) or (typed and is_this_machine(host)):
        return target
    if typed:
        msg = f"{host} is not this machine. To allow it: --target-allow {host}."
    else:
        msg = f"A message's own URL leads to {host}. Give --target-allow {host}, or --target."
    raise UsageError(msg)


def exclude(
    messages: Iterable[Message], *, allowed: Collection[str], include_disabled: bool
) -> tuple[list[Message], list[tuple[Message, Exclusion]]]:
    """The messages to send to their own URLs, and those not to send. Raises: UsageError."""
    kept: list[Message] = []
    excluded: list[tuple[Message, Exclusion]] = []
    for message in messages:
        if not include_disabled and _is_disabled(message):
            excluded.append((message, Exclusion.DISABLED))
        elif _leads_inside(message, allowed):
            excluded.append((message, Exclusion.INSIDE))
        else:
            kept.append(message)
    return kept, excluded


def _is_disabled(message: Message) -> bool:
    gone = message.last is not None and message.last.status == HTTPStatus.GONE
    return gone or not message.enabled


def _leads_inside(message: Message, allowed: Collection[str]) -> bool:
    # A usage error here would let one user with such a URL stop the run for all others.
    if not (message.endpoint_id and message.url):
        return False
    host = http_url(message.url).host or ""
    return is_literal(host) and not is_public(host) and not is_named(host, allowed)


def is_literal(host: str) -> bool:
    """Whether *host* itself says which machine it is, so that to name it is to allow it."""
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return is_this_machine(host)
    return True


def http_url(url: str) -> URL:
    """*url* as http(s) without user and password. Raises: UsageError."""
    try:
        target = URL(url)
    except ValueError:
        target = URL()
    if target.scheme in {"http", "https"} and target.host and target.raw_user is None:
        return target
    msg = f"{url!r} is not an http(s) URL without user and password."
    raise UsageError(msg)
