"""Jobs are repeated until the stop, whatever one of them meets."""

import asyncio

import pytest

from adapters.objects import ObjectStoreUnavailable
from janitor.health import State
from janitor.service import Job, repeat


class Script:
    """A job that does what it is told, round by round, and then stops everything."""

    def __init__(self, stop: asyncio.Event, *rounds: bool | Exception) -> None:
        self.left = list(rounds)
        self._stop = stop

    async def __call__(self) -> bool:
        """Play the next round."""
        step = self.left.pop(0)
        if not self.left:
            self._stop.set()
        if isinstance(step, Exception):
            raise step
        return step


async def repeated(state: State, script: Script, stop: asyncio.Event, *more: Job) -> None:
    """Repeat the script until it ends."""
    job = Job(name="script", work=script, seconds=0.01)
    async with asyncio.timeout(10):
        await repeat([job, *more], state, stop, grace=1.0)


async def test_there_is_no_pause_while_there_is_more() -> None:
    """Rounds that say there is more follow each other at once."""
    stop = asyncio.Event()
    job = Job(name="script", work=Script(stop, True, True, True), seconds=3600)

    async with asyncio.timeout(5):
        await repeat([job], State(), stop, grace=1.0)


@pytest.mark.parametrize("fault", [ObjectStoreUnavailable("away"), RuntimeError("a bug")])
async def test_a_fault_is_kept_and_forgotten_after_a_good_round(
    fault: Exception,
) -> None:
    """Failures are counted with their reason; a round without a fault clears them."""
    stop, state = asyncio.Event(), State()
    await repeated(state, Script(stop, fault, fault), stop)
    failed = state.jobs["script"]
    assert (failed.failures, state.status) == (2, "failing")
    assert type(fault).__name__ in (failed.error or "")

    stop = asyncio.Event()
    await repeated(state, Script(stop, fault, False), stop)

    assert (failed.failures, failed.error, state.status) == (0, None, "ok")
    assert failed.done_at is not None


async def test_one_jobs_fault_does_not_end_another() -> None:
    """While one always fails, another goes on."""
    stop, state = asyncio.Event(), State()

    async def always_fails() -> bool:
        raise RuntimeError("a bug")

    broken = Job(name="broken", work=always_fails, seconds=0.01)
    await repeated(state, script := Script(stop, *[False] * 20), stop, broken)

    assert script.left == []
    assert state.jobs["broken"].failures >= 1


async def test_a_stop_lets_a_round_end() -> None:
    """A round that ends within the grace ends."""
    stop, ended = asyncio.Event(), asyncio.Event()

    async def long() -> bool:
        stop.set()
        await asyncio.sleep(0)
        ended.set()
        return True

    await repeat([Job(name="long", work=long, seconds=1)], State(), stop, grace=5.0)

    assert ended.is_set()


async def test_a_stop_does_not_wait_for_ever() -> None:
    """A round that does not end within the grace is cut off."""
    stop = asyncio.Event()

    async def endless() -> bool:
        stop.set()
        await asyncio.Event().wait()
        return False

    async with asyncio.timeout(5):
        await repeat([Job(name="endless", work=endless, seconds=1)], State(), stop, grace=0.01)
