"""One thing at a time, a bounded queue, and work that can be withdrawn."""

import asyncio
import threading
from functools import partial

import pytest

from pipeline.errors import Busy
from pipeline.lane import Lane


async def test_the_model_works_on_one_thing_at_a_time() -> None:
    """Ten works at once never overlap, and run in the order they came."""
    lane = Lane(waiting=0)
    inside, order = 0, []

    def work(number: int) -> None:
        nonlocal inside
        inside += 1
        assert inside == 1
        order.append(number)
        inside -= 1

    await asyncio.gather(*(lane.in_model(partial(work, number)) for number in range(10)))
    assert order == list(range(10))
    lane.close()


async def test_work_beside_the_model_does_not_wait_for_it() -> None:
    """A side thread ends while the model still works."""
    lane = Lane(waiting=0)
    release = threading.Event()
    model = asyncio.create_task(lane.in_model(release.wait))
    assert await lane.beside(lambda: "done") == "done"
    assert not model.done()
    release.set()
    await model
    lane.close()


async def test_cancelled_work_that_waits_never_runs() -> None:
    """
    Cancelling a waiting coroutine withdraws its work.

    Negative control: the work before and behind it runs.
    """
    lane = Lane(waiting=0)
    release, ran = threading.Event(), []
    first = asyncio.create_task(lane.in_model(release.wait))
    gone = asyncio.create_task(lane.in_model(lambda: ran.append("gone")))
    behind = asyncio.create_task(lane.in_model(lambda: ran.append("behind")))
    await asyncio.sleep(0)
    gone.cancel()
    with pytest.raises(asyncio.CancelledError):
        await gone
    release.set()
    await asyncio.gather(first, behind)
    assert ran == ["behind"]
    lane.close()


def test_places_are_bounded_and_given_back() -> None:
    """With two waiting allowed the fourth is refused; a place that is free again can be taken."""
    lane = Lane(waiting=2)
    with lane.place(), lane.place():
        with lane.place():
            assert lane.inside == 3
            with pytest.raises(Busy), lane.place():
                pass
        with lane.place():
            assert lane.inside == 3
    assert lane.inside == 0
