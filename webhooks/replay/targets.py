"""
Where may be sent to: what the operator typed, and hosts that the operator named.

A message's own URL is a customer's word. That it leads to this machine is no permission: it would
be the operator's machine that a customer reaches.
"""

import ipaddress
from collections.abc import Collection

from yarl import URL

from webhooks.replay.errors import TargetRefused, UsageError


def checked(url: str, allowed: Collection[str]) -> URL:
    """
    The operator's own *url*, if it is on this machine or its host is in *allowed*.

    Raises: UsageError (no http URL, or with a password in it), TargetRefused.
    """
    target = http_url(url)
    host = target.host or ""
    if is_local(host) or is_named(host, allowed):
        return target
    msg = f"{host} is not this machine. If it is meant, say --target-allow {host}."
    raise TargetRefused(msg)


def named(url: str, allowed: Collection[str]) -> URL:
    """
    A message's own *url*, if its host is in *allowed*; this machine is no exception.

    Raises: UsageError (no http URL, or with a password in it), TargetRefused.
    """
    target = http_url(url)
    host = target.host or ""
    if is_named(host, allowed):
        return target
    whose = "The message's own URL leads to"
    msg = f"{whose} {host}. If it is meant, say --target-allow {host}, or give --target."
    raise TargetRefused(msg)


def is_named(host: str, allowed: Collection[str]) -> bool:
    """Whether *host* is one of *allowed*, in any case of letters; `[::1]` is `::1`."""
    return host.lower() in {name.lower().strip("[]") for name in allowed}


def is_literal(host: str) -> bool:
    """Whether the name itself says which machine it is, so that naming it is allowing it."""
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return is_local(host)
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


def is_local(host: str) -> bool:
    """Whether the host is this machine by its very name; no name is looked up."""
    name = host.lower().rstrip(".")
    if name == "localhost" or name.endswith(".localhost"):
        return True
    try:
        return ipaddress.ip_address(name).is_loopback
    except ValueError:
        return False
