"""
Where may be sent to: what the operator typed, and hosts that the operator named.

A message's own URL comes from a user. That it leads to this machine is no permission: the user
would reach the operator's machine.
"""

import ipaddress
from collections.abc import Collection, Iterable
from enum import StrEnum
from http import HTTPStatus

from yarl import URL

from adapters.guard import is_public
from s3_sam3.loopback import is_named, is_this_machine
from s3_sam3.recordings.messages import Message
from webhooks.replay import UsageError


class Exclusion(StrEnum):
    """Why a selected message is not sent."""

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
