"""The model's one thread: oldest first, in shared batches, and one request's end is its own."""

import asyncio
import threading
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any

import pytest

from pipeline.errors import ModelFailed, Withdrawn
from pipeline.model.executor import ModelExecutor
from pipeline.model.fake_model import FakeSegmenter
from pipeline.model.segmentation_model import ModelRequest, RequestContext
from s3_sam3.contracts.manifest import ModelInfo, PromptResult
from s3_sam3.contracts.prompts import SegmentOptions


class Steps(ModelRequest):
    """A request of so many steps."""

    def __init__(self, name: str, steps: int) -> None:
        """Have done none."""
        super().__init__(SegmentOptions(), RequestContext())
        self.name = name
        self.left = steps


class Stepper:
    """Takes the two oldest requests one step on at each call, and remembers whom it was shown."""

    info: ModelInfo = FakeSegmenter().info
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

    def trace(self, request: Any) -> tuple[PromptResult, ...]:
        """Is not asked."""
        raise NotImplementedError

    def find(self, requests: Sequence[Steps]) -> None:
        """Take one step."""
        assert self.gate.wait(20)
        self.shown.append("".join(request.name for request in requests))
        first, self.first = self.first, None
        if first:
            first()
        for request in requests[:2]:
            request.left -= 1
            if request.left == 0:
                request.close()


async def served(stepper: Stepper, *requests: Steps) -> list[BaseException | None]:
    """Hand all in before the first step; how each ended."""
    executor = ModelExecutor(side_threads=1)
    gate = threading.Event()
    busy = asyncio.create_task(executor.in_model(gate.wait))
    tasks = [asyncio.create_task(executor.find(stepper, request)) for request in requests]
    await asyncio.sleep(0)
    gate.set()
    await busy
    ends = await asyncio.gather(*tasks, return_exceptions=True)
    executor.close()
    return ends


async def test_the_model_works_on_one_thing_at_a_time() -> None:
    """Ten works at once never overlap, and run in the order they came."""
    executor = ModelExecutor(side_threads=1)
    inside, order = 0, []

    def work(number: int) -> None:
        nonlocal inside
        inside += 1
        assert inside == 1
        order.append(number)
        inside -= 1

    await asyncio.gather(*(executor.in_model(partial(work, number)) for number in range(10)))
    assert order == list(range(10))
    executor.close()


async def test_work_beside_the_model_does_not_wait_for_it() -> None:
    """A side thread ends while the model still works."""
    executor = ModelExecutor(side_threads=1)
    release = threading.Event()
    model = asyncio.create_task(executor.in_model(release.wait))
    assert await executor.beside(lambda: "done") == "done"
    assert not model.done()
    release.set()
    await model
    executor.close()


async def test_all_who_wait_are_served_together_oldest_first() -> None:
    """
    A short request that came second ends before a long first one; a third joins in its place.

    The oldest is part of every batch, so it cannot starve.
    """
    stepper = Stepper()
    assert await served(stepper, Steps("a", 4), Steps("b", 1), Steps("c", 2)) == [None] * 3
    assert stepper.shown == ["abc", "ac", "ac", "a"]


async def test_a_withdrawn_order_leaves_before_the_next_batch() -> None:
    """
    A request abandoned during the first batch is not part of the second; its neighbours are.

    Negative control: those who are not abandoned are served to their end.
    """
    stepper = Stepper()
    requests = [Steps("a", 3), Steps("b", 3), Steps("c", 3)]
    stepper.first = requests[1].context.abandon
    first, second, third = await served(stepper, *requests)
    assert (first, third) == (None, None)
    assert isinstance(second, Withdrawn)
    assert stepper.shown == ["abc", "ac", "ac", "c"]
    assert requests[1].left == 2


async def test_an_order_withdrawn_before_its_turn_never_reaches_the_model() -> None:
    """Abandoned while it waits: the model is never shown it."""
    stepper = Stepper()
    gone = Steps("b", 1)
    gone.context.abandon()
    assert isinstance((await served(stepper, Steps("a", 1), gone))[1], Withdrawn)
    assert stepper.shown == ["a"]


async def test_a_segmenter_that_raises_fails_the_oldest_alone() -> None:
    """Whatever a segmenter lets through belongs to the oldest request, and the executor goes on."""
    stepper = Stepper()

    def fail() -> None:
        raise ModelFailed

    stepper.first = fail
    first, second = await served(stepper, Steps("a", 1), Steps("b", 1))
    assert isinstance(first, ModelFailed)
    assert second is None


async def test_a_cancelled_caller_leaves_the_order_to_the_models_thread() -> None:
    """Cancelling the coroutine does not close the request under the model's hands."""
    executor, stepper, request = ModelExecutor(side_threads=1), Stepper(), Steps("a", 1)
    stepper.gate.clear()
    task = asyncio.create_task(executor.find(stepper, request))
    await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert not request.closed
    stepper.gate.set()
    await executor.in_model(lambda: None)
    assert request.closed
    executor.close()


async def test_what_is_done_is_let_go() -> None:
    """
    The executor holds on to no request that is closed, and so to nobody's picture.

    Negative control: while it waits, a request is there.
    """
    executor, stepper, request = ModelExecutor(side_threads=1), Stepper(), Steps("a", 1)
    stepper.gate.clear()
    task = asyncio.create_task(executor.find(stepper, request))
    await asyncio.sleep(0)
    assert list(executor.waiting) == [request]
    stepper.gate.set()
    await task
    await executor.in_model(lambda: None)
    assert not executor.waiting
    executor.close()
