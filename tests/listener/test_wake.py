"""Many hints, one look; and work that a cancellation does not interrupt."""

import asyncio

import pytest

from listener.run_attempt import to_the_end
from listener.wake import Wake, WakeSource


async def test_many_hints_make_one_look() -> None:
    """However many hints come, one wait takes all, and names the first one's source."""
    wake = Wake()
    wake.hint(WakeSource.HINT)
    wake.hint(WakeSource.POLL)
    wake.hint(WakeSource.HINT)

    assert await wake.wait() is WakeSource.HINT
    with pytest.raises(TimeoutError):
        await asyncio.wait_for(wake.wait(), timeout=0.05)


async def test_a_hint_during_a_look_is_not_lost() -> None:
    """What is hinted after the wait returned makes the next wait return."""
    wake = Wake()
    wake.hint(WakeSource.POLL)
    await wake.wait()

    wake.hint(WakeSource.HINT)

    assert await asyncio.wait_for(wake.wait(), timeout=1) is WakeSource.HINT


async def test_shielded_work_ends_before_the_cancellation() -> None:
    """Cancelled twice, the work still ends, and only then the caller is cancelled."""
    done = await _cancelled_twice(shielded=True)

    assert done.is_set()


async def test_unshielded_work_is_interrupted() -> None:
    """Negative control: without the shield the same work does not end."""
    done = await _cancelled_twice(shielded=False)

    assert not done.is_set()


async def _cancelled_twice(*, shielded: bool) -> asyncio.Event:
    started, may_end, done = asyncio.Event(), asyncio.Event(), asyncio.Event()

    async def work() -> None:
        started.set()
        await may_end.wait()
        done.set()

    caller = asyncio.create_task(to_the_end(work()) if shielded else work())
    await started.wait()
    for _ in range(2):
        caller.cancel()
        await asyncio.sleep(0)
    may_end.set()
    with pytest.raises(asyncio.CancelledError):
        await caller
    return done
