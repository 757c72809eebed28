"""Which addresses a customer may have us call: public ones, and nothing else."""

import ipaddress
from typing import Final


Address = ipaddress.IPv4Address | ipaddress.IPv6Address

_GLOBAL_UNICAST: Final = ipaddress.IPv6Network("2000::/3")
"""All that is handed out of IPv6; the rest is local, multicast or for later."""

_NAT64: Final = ipaddress.IPv6Network("64:ff9b::/96")

_NEVER: Final = (
    # Protocol assignments; a cloud's metadata service (Oracle's) answers in it.
    ipaddress.IPv4Network("192.0.0.0/24"),
    # Azure's platform service, at every one of its machines: a public address with private answers.
    ipaddress.IPv4Network("168.63.129.16/32"),
    # 6to4's relays, which nobody runs any more.
    ipaddress.IPv4Network("192.88.99.0/24"),
    # Protocol assignments, Teredo among them; younger Pythons take parts of it for global.
    ipaddress.IPv6Network("2001::/23"),
    # Documentation, of 2024; newer than the tables of our oldest Python.
    ipaddress.IPv6Network("3fff::/20"),
)
"""Global by the letter of Python's tables, but not for us."""


def is_public(text: str) -> bool:
    """Whether *text* is the address of a machine on the open internet; names are not."""
    try:
        address = _unwrapped(ipaddress.ip_address(text))
    except ValueError:
        return False
    if any(address in network for network in _NEVER if network.version == address.version):
        return False
    if isinstance(address, ipaddress.IPv6Address) and address not in _GLOBAL_UNICAST:
        return False
    return address.is_global and not address.is_multicast and not address.is_reserved


def _unwrapped(address: Address) -> Address:
    """The IPv4 address to which an IPv6 address leads in the end; else the address itself."""
    if isinstance(address, ipaddress.IPv4Address):
        return address
    if address in _NAT64:
        return ipaddress.IPv4Address(int(address) & 0xFFFFFFFF)
    return address.ipv4_mapped or address.sixtofour or address
