"""No user reaches our own machines through the dispatcher, whatever their name resolves to."""

import asyncio
import socket
import uuid
from collections.abc import AsyncIterator
from datetime import UTC, datetime

import aiohttp
import pytest
from aiohttp.abc import AbstractResolver, ResolveResult
from dispatchers import Receiver, status
from typing_extensions import override

from adapters import guard
from adapters.guard import is_public
from webhooks.delivery.outbox import Answer, Delivery
from webhooks.delivery.sending import Sender


REFUSED = "The address is not public, or not https."

PRIVATE = [
    "127.0.0.1",
    "127.1.2.3",
    "0.0.0.0",
    "10.0.0.1",
    "172.16.0.1",
    "192.168.1.1",
    "100.64.0.1",
    "100.100.100.200",
    "169.254.169.254",
    "168.63.129.16",
    "192.0.0.192",
    "192.0.2.1",
    "198.18.0.1",
    "224.0.0.1",
    "239.255.255.250",
    "240.0.0.1",
    "255.255.255.255",
    "::",
    "::1",
    "::ffff:127.0.0.1",
    "::ffff:169.254.169.254",
    "::127.0.0.1",
    "64:ff9b::7f00:1",
    "64:ff9b::a9fe:a9fe",
    "64:ff9b:1::1",
    "2002:7f00:1::",
    "2002:a00:1::1",
    "2001::1",
    "2001:db8::1",
    "3fff::1",
    "fc00::1",
    "fd00:ec2::254",
    "fe80::1",
    "fe80::1%eth0",
    "fec0::1",
    "ff02::1",
    "5f00::1",
    "localhost",
    "",
]

PUBLIC = ["1.1.1.1", "93.184.216.34", "2606:4700::1111", "::ffff:8.8.8.8", "64:ff9b::808:808"]


@pytest.mark.parametrize("address", PRIVATE)
def test_what_is_not_public_is_refused(address: str) -> None:
    """Loopback, private, link-local, metadata, reserved and multicast, however they are wrapped."""
    assert not is_public(address)


@pytest.mark.parametrize("address", PUBLIC)
def test_what_is_public_is_let_through(address: str) -> None:
    """Control: public addresses of both kinds pass, also wrapped ones."""
    assert is_public(address)


class Scripted(AbstractResolver):
    """A name server that answers with one list after the other, the last one again and again."""

    def __init__(self, *answers: list[str]) -> None:
        self.answers = list(answers)
        self.asked = 0

    @override
    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_UNSPEC
    ) -> list[ResolveResult]:
        """The next answer."""
        self.asked += 1
        addresses = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
        return [
            ResolveResult(
                hostname=host,
                host=address,
                port=port,
                family=socket.AF_INET6 if ":" in address else socket.AF_INET,
                proto=0,
                flags=0,
            )
            for address in addresses
        ]

    @override
    async def close(self) -> None:
        """Nothing is open."""


@pytest.fixture
async def local_port() -> AsyncIterator[list[int]]:
    """A port of 127.0.0.1: its number, and then one entry for each connection."""
    seen: list[int] = []

    async def meet(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        seen.append(1)
        writer.close()

    async with await asyncio.start_server(meet, "127.0.0.1", 0) as server:
        seen.append(server.sockets[0].getsockname()[1])
        yield seen


def delivery(url: str) -> Delivery:
    """A delivery to *url*."""
    return Delivery(
        id="msg_1",
        claim_token=1,
        endpoint_id=uuid.uuid4(),
        url=url,
        secrets=("whsec_c2VjcmV0",),
        event="webhook.test",
        body="{}",
        attempt_count=0,
        created_at=datetime.now(UTC),
    )


async def sent(
    url: str, *, allow_private: bool = False, resolver: Scripted | None = None
) -> Answer:
    """What comes of one attempt at *url*."""
    async with Sender(timeout_seconds=2, allow_private=allow_private, resolver=resolver) as sender:
        return await sender.send(delivery(url))


@pytest.mark.parametrize(
    "host",
    [
        "127.0.0.1",
        "localhost",
        "[::ffff:127.0.0.1]",
        "127.1",
        "2130706433",
        "0x7f000001",
        "0177.0.0.1",
        "127.0.0.1.",
        "①②⑦.0.0.1",
    ],
)
async def test_no_spelling_of_loopback_is_reached(local_port: list[int], host: str) -> None:
    """A literal address, a name for it, or an old spelling: no connection, and a sentence."""
    answer = await sent(f"https://{host}:{local_port[0]}/")

    assert answer.status_code is None
    assert answer.error
    assert local_port[1:] == []


@pytest.mark.parametrize("host", ["127.0.0.1", "[::1]", "[fd00:ec2::254]", "169.254.169.254"])
async def test_a_literal_private_address_is_refused(host: str) -> None:
    """An address in the URL, which no resolver sees, meets the same check."""
    assert (await sent(f"https://{host}/")).error == REFUSED


async def test_without_the_guard_loopback_is_reached(local_port: list[int]) -> None:
    """Negative control: with private addresses allowed the same URL opens a connection."""
    answer = await sent(f"https://127.0.0.1:{local_port[0]}/", allow_private=True)

    assert answer.error != REFUSED
    assert local_port[1:] == [1]


@pytest.mark.parametrize("address", ["127.0.0.1", "::ffff:127.0.0.1", "10.0.0.1", "fd00::1"])
async def test_a_name_that_leads_inside_is_refused(local_port: list[int], address: str) -> None:
    """A public name with a private address is refused, also beside a public one."""
    for answers in ([address], ["93.184.216.34", address]):
        answer = await sent(f"https://evil.example:{local_port[0]}/", resolver=Scripted(answers))
        assert answer.error == REFUSED
    assert local_port[1:] == []


async def test_a_name_is_asked_for_once_and_that_address_is_called(
    local_port: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A name that turns private after the check gains nothing: what was checked is called."""
    monkeypatch.setattr(guard, "is_public", lambda address: address == "127.0.0.2")
    called = asyncio.Event()

    async def meet(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        called.set()
        writer.close()

    rebinding = Scripted(["127.0.0.2"], ["127.0.0.1"])
    url = f"https://rebind.example:{local_port[0]}/"
    async with await asyncio.start_server(meet, "127.0.0.2", local_port[0]):
        first = await sent(url, resolver=rebinding)
    again = await sent(url, resolver=rebinding)

    assert called.is_set()
    assert first.error != REFUSED
    assert (again.error, rebinding.asked) == (REFUSED, 2)
    assert local_port[1:] == []


async def test_a_check_before_the_request_would_be_rebound(local_port: list[int]) -> None:
    """Negative control: a name that is checked, then resolved again by the client, leads inside."""
    rebinding = Scripted(["1.1.1.1"], ["127.0.0.1"])
    (checked,) = await rebinding.resolve("rebind.example")
    assert is_public(checked["host"])

    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(resolver=rebinding)) as http:
        with pytest.raises(aiohttp.ClientError):
            await http.post(f"http://rebind.example:{local_port[0]}/")

    assert local_port[1:] == [1]


async def test_a_redirect_is_not_followed(receiver: Receiver, other_receiver: Receiver) -> None:
    """A 302 to a private address is an answer like any other."""
    receiver.answering = status(302, Location=other_receiver.url)

    answer = await sent(receiver.url, allow_private=True)

    assert answer.status_code == 302
    assert not answer.delivered
    assert other_receiver.got == []


async def test_plain_http_is_refused(receiver: Receiver) -> None:
    """Without DISPATCHER_ALLOW_PRIVATE only https is allowed."""
    public = Scripted(["1.1.1.1"])

    answer = await sent("http://public.example/", resolver=public)

    assert answer.error == REFUSED
    assert public.asked == 0
    assert (await sent(receiver.url)).error == REFUSED
    assert receiver.got == []


async def test_a_proxy_of_the_environment_is_not_used(
    receiver: Receiver, other_receiver: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    """HTTP_PROXY and its like are for the operator's tools, not for a user's URL."""
    for name in ("HTTP_PROXY", "http_proxy", "HTTPS_PROXY", "https_proxy", "ALL_PROXY"):
        monkeypatch.setenv(name, other_receiver.url)

    assert (await sent(receiver.url, allow_private=True)).delivered
    assert other_receiver.got == []


async def test_one_receivers_cookie_is_not_sent(receiver: Receiver) -> None:
    """A receiver's cookies are forgotten: the next delivery may be another user's."""
    receiver.answering = status(200, Set_Cookie="who=one; Path=/")
    async with Sender(timeout_seconds=2, allow_private=True) as sender:
        for _ in range(2):
            await sender.send(delivery(receiver.url))

    assert [got.headers.get("cookie") for got in receiver.got] == [None, None]
