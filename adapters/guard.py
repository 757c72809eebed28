"""
Connections to public addresses only, against server-side request forgery.

A check of the URL before the request is not enough: a name may have another address a moment
later. So the check is where the address is used: the resolver returns checked addresses only, and
a socket is made only if its address passes too, which covers addresses written in the URL.
"""

import ipaddress
import socket
from typing import Final

import aiohttp
from aiohttp.abc import AbstractResolver, ResolveResult
from typing_extensions import override


DNS_SECONDS: Final = 30
"""How long a checked address is used again."""

KEEP_ALIVE_SECONDS: Final = 2.0

AddrInfo = tuple[int | socket.AddressFamily, int | socket.SocketKind, int, str, tuple[object, ...]]
Address = ipaddress.IPv4Address | ipaddress.IPv6Address

_GLOBAL_UNICAST: Final = ipaddress.IPv6Network("2000::/3")
"""All of IPv6 that is assigned; the rest is local, multicast or reserved."""

_NAT64: Final = ipaddress.IPv6Network("64:ff9b::/96")

_NEVER: Final = (
    # Protocol assignments; a cloud's metadata service (Oracle's) answers in it.
    ipaddress.IPv4Network("192.0.0.0/24"),
    # Azure's platform service, on each of its machines: a public address with private answers.
    ipaddress.IPv4Network("168.63.129.16/32"),
    # 6to4 relays, which are no longer operated.
    ipaddress.IPv4Network("192.88.99.0/24"),
    # Protocol assignments, Teredo among them; newer Pythons call parts of it global.
    ipaddress.IPv6Network("2001::/23"),
    # Documentation, of 2024; newer than the tables of our oldest Python.
    ipaddress.IPv6Network("3fff::/20"),
)
"""Global by Python's tables, but refused here."""


class AddressRefused(OSError):
    """The address is not public."""


def is_public(text: str) -> bool:
    """Whether *text* is an address on the open internet; a name is not."""
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
    """The IPv4 address that an IPv6 address leads to, or the address itself."""
    if isinstance(address, ipaddress.IPv4Address):
        return address
    if address in _NAT64:
        return ipaddress.IPv4Address(int(address) & 0xFFFFFFFF)
    return address.ipv4_mapped or address.sixtofour or address


class PublicResolver(AbstractResolver):
    """Resolves with *inner*, and refuses a name if one of its addresses is not public."""

    def __init__(self, inner: AbstractResolver) -> None:
        self._inner = inner

    @override
    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_UNSPEC
    ) -> list[ResolveResult]:
        """Addresses of *host*. Raises: AddressRefused, OSError."""
        found = await self._inner.resolve(host, port, family)
        if not all(is_public(each["host"]) for each in found):
            raise AddressRefused
        return found

    @override
    async def close(self) -> None:
        await self._inner.close()


def public_socket(info: AddrInfo) -> socket.socket:
    """A socket for a connection to a public address. Raises: AddressRefused."""
    family, kind, protocol, _, address = info
    if not is_public(str(address[0])):
        raise AddressRefused
    return socket.socket(family, kind, protocol)


def connector(
    *, allow_private: bool, resolver: AbstractResolver | None = None
) -> aiohttp.TCPConnector:
    """
    Connections to public addresses; with *allow_private* to any.

    The caller limits how many there are at once. *resolver* replaces the system's.
    """
    inner = resolver or aiohttp.ThreadedResolver()
    return aiohttp.TCPConnector(
        limit=0,
        # Short: a POST is not repeated when a receiver closes an idle connection at that moment.
        keepalive_timeout=KEEP_ALIVE_SECONDS,
        ttl_dns_cache=DNS_SECONDS,
        resolver=inner if allow_private else PublicResolver(inner),
        socket_factory=None if allow_private else public_socket,
    )


def was_refused(error: BaseException | None) -> bool:
    """Whether *error*, or an error that it wraps, is an AddressRefused."""
    while error is not None:
        if isinstance(error, AddressRefused):
            return True
        error = error.__cause__ or getattr(error, "os_error", None)
    return False
