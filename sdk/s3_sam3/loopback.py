"""Which hosts are this machine, by their names alone: nothing is looked up."""

import ipaddress
from collections.abc import Collection


def is_this_machine(host: str) -> bool:
    """Whether *host* is localhost, a name under .localhost, or a loopback address."""
    name = host.lower().rstrip(".")
    if name == "localhost" or name.endswith(".localhost"):
        return True
    try:
        return ipaddress.ip_address(name).is_loopback
    except ValueError:
        return False


def is_named(host: str, allowed: Collection[str]) -> bool:
    """Whether *host* is one of *allowed*, in upper or lower case; `[::1]` is `::1`."""
    return host.lower() in {name.lower().strip("[]") for name in allowed}
