"""Fixtures of the devstack's own tests: ways to reach it."""

from collections.abc import AsyncIterator

import aiohttp
import pytest

import supabase
from devstack import testing


@pytest.fixture
async def client(stack: testing.Stack) -> supabase.AsyncClient:
    """The official client with the anon key."""
    return await supabase.acreate_client(stack.url, stack.anon_key)


@pytest.fixture
async def admin(stack: testing.Stack) -> supabase.AsyncClient:
    """The official client with the service key."""
    return await supabase.acreate_client(stack.url, stack.service_key)


@pytest.fixture
async def http(stack: testing.Stack) -> AsyncIterator[aiohttp.ClientSession]:
    """Plain HTTP with the anon key."""
    headers = {"apikey": stack.anon_key}
    async with aiohttp.ClientSession(stack.url, headers=headers) as session:
        yield session
