"""A name that the operator allowed must not lead inside; a --target may."""

import socket

import pytest
from aiohttp.abc import AbstractResolver, ResolveResult
from failing_receiver import Receiver
from typing_extensions import override
from yarl import URL

from webhooks.replay.sending import Answer, Sender


class Inside(AbstractResolver):
    """A name server that knows every name at 127.0.0.1."""

    @override
    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_UNSPEC
    ) -> list[ResolveResult]:
        """Loopback."""
        return [
            ResolveResult(
                hostname=host, host="127.0.0.1", port=port, family=socket.AF_INET, proto=0, flags=0
            )
        ]

    @override
    async def close(self) -> None:
        """Nothing is open."""


async def posted(url: str, *, guarded: bool) -> Answer:
    """What comes of one POST."""
    async with Sender(timeout_seconds=5, guarded=guarded, resolver=Inside()) as sender:
        return await sender.post(URL(url), [("x", "y")], b"{}")


def by_name(receiver: Receiver) -> str:
    """The receiver's URL under a name of the open internet."""
    return receiver.url.replace("127.0.0.1", "hooks.example.com")


async def test_a_name_that_leads_inside_is_refused(receiver: Receiver) -> None:
    """No connection, and the attempt says why."""
    answer = await posted(by_name(receiver), guarded=True)

    assert answer.attempt.error == "AddressRefused"
    assert receiver.requests == []


async def test_without_the_guard_the_name_leads_inside(receiver: Receiver) -> None:
    """Negative control: the same name reaches this machine; so does a --target, which is typed."""
    await posted(by_name(receiver), guarded=False)

    assert len(receiver.requests) == 1


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost"])
async def test_what_says_itself_where_it_leads_needs_only_the_operators_word(
    receiver: Receiver, host: str
) -> None:
    """An address, or this machine's name, was allowed by itself."""
    await posted(receiver.url.replace("127.0.0.1", host), guarded=True)

    assert len(receiver.requests) == 1
