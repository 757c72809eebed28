"""A fake Realtime server, and a supervised channel at it."""

from collections.abc import AsyncIterator

import pytest
from fake_phoenix import FakePhoenix
from supervised_channel import QUICK, Listening, listening_to


@pytest.fixture
async def phoenix() -> AsyncIterator[FakePhoenix]:
    """A running fake server."""
    server = FakePhoenix()
    await server.start()
    yield server
    await server.stop()


@pytest.fixture
async def listening(phoenix: FakePhoenix) -> AsyncIterator[Listening]:
    """A supervised channel that is live and has heard hint 1."""
    async with listening_to(phoenix, QUICK) as one:
        yield one
