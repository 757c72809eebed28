"""A fake Realtime server, and a supervised channel at it."""

from collections.abc import AsyncIterator

import pytest
from fake_phoenix import FakePhoenix
from realtime_channel import QUICK, ChannelUnderTest, live_channel


@pytest.fixture
async def phoenix() -> AsyncIterator[FakePhoenix]:
    """A running fake server."""
    server = FakePhoenix()
    await server.start()
    yield server
    await server.stop()


@pytest.fixture
async def listening(phoenix: FakePhoenix) -> AsyncIterator[ChannelUnderTest]:
    """A supervised channel that is live and has heard hint 1."""
    async with live_channel(phoenix, QUICK) as one:
        yield one
