"""Where may be sent to: this machine, and hosts that the operator named."""

import ipaddress
from collections.abc import Collection

from yarl import URL

from replay.errors import TargetRefused, UsageError


def checked(url: str, allowed: Collection[str]) -> URL:
    """
    *url*, if it is on this machine or its host is in *allowed*.

    Raises: UsageError (no http URL, or with a password in it), TargetRefused.
    """
    target = http_url(url)
    host = target.host or ""
    if is_local(host) or host.lower() in {name.lower() for name in allowed}:
        return target
    msg = f"{host} is not this machine. If it is meant, say --target-allow {host}."
    raise TargetRefused(msg)


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
