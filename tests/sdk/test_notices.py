"""The SDK's notices wake the right watchers, and again after every fault of the connection."""

import asyncio
import time
import uuid
from collections.abc import AsyncIterator
from dataclasses import replace

import pytest
from fake_phoenix import FakePhoenix
from realtime_channel import QUICK, client_tasks, until

from s3_sam3.contracts import notices
from s3_sam3.notices import Notices
from s3_sam3.session import Session, Tokens


USER = uuid.UUID(int=7)
TASK = uuid.UUID(int=1)


@pytest.fixture
async def phoenix() -> AsyncIterator[FakePhoenix]:
    """A Realtime server of this user's topic."""
    server = FakePhoenix(notices.user_topic(USER))
    await server.start()
    yield server
    await server.stop()


def session(phoenix: FakePhoenix) -> Session:
    """A user whose token stays good."""
    tokens = Tokens(
        access_token="token",
        refresh_token="refresh",
        refresh_at=time.time() + 3600,
        expires_at=time.time() + 3600,
        user_id=str(USER),
        email=None,
    )
    return Session(supabase_url=f"http://127.0.0.1:{phoenix.port}", anon_key="anon", tokens=tokens)


@pytest.fixture
async def joined(phoenix: FakePhoenix) -> AsyncIterator[Notices]:
    """Notices that are live, with timings of milliseconds; they leave nothing behind."""
    one = Notices(session(phoenix), timings=QUICK)
    with one.of(None):
        await until(one.live.is_set)
    yield one
    await one.close()
    assert not client_tasks()


async def changed(phoenix: FakePhoenix, task_id: object) -> None:
    """Say that a task moved."""
    payload = {"id": str(task_id)}
    await phoenix.send(
        "broadcast", {"type": "broadcast", "event": notices.TASK_CHANGED, "payload": payload}
    )


async def test_a_notice_wakes_those_who_watch_its_task(
    phoenix: FakePhoenix, joined: Notices
) -> None:
    """The task's own watchers and those of any task are woken; another task's are not."""
    with joined.of(TASK) as own, joined.of(None) as every, joined.of(uuid.UUID(int=2)) as other:
        await changed(phoenix, TASK)

        await asyncio.wait_for(asyncio.gather(own.wait(), every.wait()), timeout=5)
        assert not other.is_set()


async def test_an_unreadable_notice_wakes_all(phoenix: FakePhoenix, joined: Notices) -> None:
    """A notice without a task's id may be about any of them."""
    with joined.of(TASK) as own:
        await changed(phoenix, "no id")

        await asyncio.wait_for(own.wait(), timeout=5)


async def test_a_mute_server_is_noticed(phoenix: FakePhoenix, joined: Notices) -> None:
    """
    A server that keeps its sockets open and sends nothing is left, and watchers are woken later.

    While it is mute `live` is not set, so that a watcher looks every second.
    """
    with joined.of(TASK) as own:
        phoenix.mute = True
        await until(lambda: not joined.live.is_set())
        own.clear()
        phoenix.mute = False

        await asyncio.wait_for(own.wait(), timeout=5)
        assert joined.live.is_set()


async def test_without_canaries_a_mute_server_goes_unnoticed(phoenix: FakePhoenix) -> None:
    """Negative control: the topic still counts as live if nothing is sent to test it."""
    deaf = Notices(session(phoenix), timings=replace(QUICK, canary_seconds=3600))
    with deaf.of(None):
        await until(deaf.live.is_set)
        phoenix.mute = True
        with pytest.raises(TimeoutError):
            await until(lambda: not deaf.live.is_set(), seconds=0.5)
    await deaf.close()


async def test_a_cut_connection_wakes_the_watchers(phoenix: FakePhoenix, joined: Notices) -> None:
    """What moved during a cut is looked for after it."""
    with joined.of(TASK) as own:
        own.clear()
        for connection in list(phoenix.connections):
            connection.transport.abort()

        await asyncio.wait_for(own.wait(), timeout=5)
