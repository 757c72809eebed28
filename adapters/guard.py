"""
Connections that lead to public addresses only (against server-side request forgery).

A check of the URL before the request would not do: a name may have another address a moment
later. So the check sits where the address is used. The resolver hands out checked addresses only,
and the socket for a connection is made only if its address passes too, for literal ones.
"""

import socket
from typing import Final

import aiohttp
from aiohttp.abc import AbstractResolver, ResolveResult
from typing_extensions import override

from adapters.addresses import is_public


DNS_SECONDS: Final = 30
"""How long a checked address is used again."""

KEEP_ALIVE_SECONDS: Final = 2.0

AddrInfo = tuple[int | socket.AddressFamily, int | socket.SocketKind, int, str, tuple[object, ...]]


class AddressRefused(OSError):
    """The address is not public."""


class PublicResolver(AbstractResolver):
    """Resolves by *inner*, and refuses a name if any of its addresses is not public."""

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

    How many there are at once is the caller's business. *resolver*: instead of the system's.
    """
    inner = resolver or aiohttp.ThreadedResolver()
    return aiohttp.TCPConnector(
        limit=0,
        # Short: POSTs are not repeated when a receiver closes an idle connection just then.
        keepalive_timeout=KEEP_ALIVE_SECONDS,
        ttl_dns_cache=DNS_SECONDS,
        resolver=inner if allow_private else PublicResolver(inner),
        socket_factory=None if allow_private else public_socket,
    )


def was_refused(error: BaseException | None) -> bool:
    """Whether a request's *error* is this guard's, however it was wrapped on its way."""
    while error is not None:
        if isinstance(error, AddressRefused):
            return True
        error = error.__cause__ or getattr(error, "os_error", None)
    return False
