"""One thread in front of the model: oldest first, together, and nobody's end is another's."""

import asyncio
import threading
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any

import pytest

from pipeline.errors import ModelFailed, Withdrawn
from pipeline.model.errand import Errand
from pipeline.model.executor import Lane
from pipeline.model.order import Order
from pipeline.model.standin import StandinSegmenter
from s3_sam3.contracts.manifest import ModelInfo, PromptResult
from s3_sam3.contracts.prompts import SegmentOptions


class Steps(Order):
    """An order of so many steps."""

    def __init__(self, name: str, steps: int) -> None:
        """Have done none."""
        super().__init__(SegmentOptions(), Errand())
        self.name = name
        self.left = steps


class Stepper:
    """Takes the two oldest orders one step on at each call, and remembers whom it was shown."""

    info: ModelInfo = StandinSegmenter().info
    figures: Mapping[str, float] = {}

    def __init__(self) -> None:
        """Be open."""
        self.gate = threading.Event()
        self.gate.set()
        self.shown: list[str] = []
        self.first: Callable[[], None] | None = None

    def prepare(self, *_: Any) -> Any:
        """Is not asked."""
        raise NotImplementedError

    def trace(self, order: Any) -> tuple[PromptResult, ...]:
        """Is not asked."""
        raise NotImplementedError

    def find(self, orders: Sequence[Steps]) -> None:
        """Take one step."""
        assert self.gate.wait(20)
        self.shown.append("".join(order.name for order in orders))
        first, self.first = self.first, None
        if first:
            first()
        for order in orders[:2]:
            order.left -= 1
            if order.left == 0:
                order.close()


async def served(stepper: Stepper, *orders: Steps) -> list[BaseException | None]:
    """Hand all in before the first step; how each ended."""
    lane = Lane(side_threads=1)
    gate = threading.Event()
    busy = asyncio.create_task(lane.in_model(gate.wait))
    tasks = [asyncio.create_task(lane.find(stepper, order)) for order in orders]
    await asyncio.sleep(0)
    gate.set()
    await busy
    ends = await asyncio.gather(*tasks, return_exceptions=True)
    lane.close()
    return ends


async def test_the_model_works_on_one_thing_at_a_time() -> None:
    """Ten works at once never overlap, and run in the order they came."""
    lane = Lane(side_threads=1)
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
    lane = Lane(side_threads=1)
    release = threading.Event()
    model = asyncio.create_task(lane.in_model(release.wait))
    assert await lane.beside(lambda: "done") == "done"
    assert not model.done()
    release.set()
    await model
    lane.close()


async def test_all_who_wait_are_served_together_oldest_first() -> None:
    """
    A short order that came second ends before a long first one; a third joins in its place.

    The oldest is part of every batch, so it cannot starve.
    """
    stepper = Stepper()
    assert await served(stepper, Steps("a", 4), Steps("b", 1), Steps("c", 2)) == [None] * 3
    assert stepper.shown == ["abc", "ac", "ac", "a"]


async def test_a_withdrawn_order_leaves_before_the_next_batch() -> None:
    """
    An order abandoned during the first batch is not part of the second; its neighbours are.

    Negative control: those who are not abandoned are served to their end.
    """
    stepper = Stepper()
    orders = [Steps("a", 3), Steps("b", 3), Steps("c", 3)]
    stepper.first = orders[1].errand.abandon
    first, second, third = await served(stepper, *orders)
    assert (first, third) == (None, None)
    assert isinstance(second, Withdrawn)
    assert stepper.shown == ["abc", "ac", "ac", "c"]
    assert orders[1].left == 2


async def test_an_order_withdrawn_before_its_turn_never_reaches_the_model() -> None:
    """Abandoned while it waits: the model is never shown it."""
    stepper = Stepper()
    gone = Steps("b", 1)
    gone.errand.abandon()
    assert isinstance((await served(stepper, Steps("a", 1), gone))[1], Withdrawn)
    assert stepper.shown == ["a"]


async def test_a_segmenter_that_raises_fails_the_oldest_alone() -> None:
    """Whatever a segmenter lets through belongs to the oldest order, and the lane goes on."""
    stepper = Stepper()

    def fail() -> None:
        raise ModelFailed

    stepper.first = fail
    first, second = await served(stepper, Steps("a", 1), Steps("b", 1))
    assert isinstance(first, ModelFailed)
    assert second is None


async def test_a_cancelled_caller_leaves_the_order_to_the_models_thread() -> None:
    """Cancelling the coroutine does not close the order under the model's hands."""
    lane, stepper, order = Lane(side_threads=1), Stepper(), Steps("a", 1)
    stepper.gate.clear()
    task = asyncio.create_task(lane.find(stepper, order))
    await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert not order.closed
    stepper.gate.set()
    await lane.in_model(lambda: None)
    assert order.closed
    lane.close()


async def test_what_is_done_is_let_go() -> None:
    """
    The lane holds on to no order that is closed, and so to nobody's picture.

    Negative control: while it waits, an order is there.
    """
    lane, stepper, order = Lane(side_threads=1), Stepper(), Steps("a", 1)
    stepper.gate.clear()
    task = asyncio.create_task(lane.find(stepper, order))
    await asyncio.sleep(0)
    assert list(lane.waiting) == [order]
    stepper.gate.set()
    await task
    await lane.in_model(lambda: None)
    assert not lane.waiting
    lane.close()
