"""What may be in the server at once: requests, bytes, decoded pictures; when to come back."""

import asyncio
import threading

import pytest

from pipeline.errors import Busy
from pipeline.model.executor import ModelExecutor
from pipeline.server.admission import Admission, ByteBudget
from s3_sam3.contracts import limits


LARGEST = 4 * limits.MAX_IMAGE_PIXELS


class Clock:
    """Stands still until it is moved."""

    now = 100.0

    def __call__(self) -> float:
        """Tell the time."""
        return self.now


def admission(requests: int = 2, upload_bytes: int = 1000) -> tuple[Admission, Clock]:
    """An admission and its clock."""
    clock = Clock()
    return Admission(requests=requests, upload_bytes=upload_bytes, clock=clock), clock


def advice(gate: Admission) -> int:
    """What a refused caller is told."""
    with pytest.raises(Busy) as caught, gate.admit(1):
        pass
    return caught.value.seconds


def test_requests_are_bounded() -> None:
    """With two allowed the third is refused; when one has left the next is admitted."""
    gate, _ = admission(requests=2)
    with gate.admit(1):
        with gate.admit(1):
            assert gate.inside == 2
            advice(gate)
        with gate.admit(1):
            assert gate.inside == 2
    assert gate.inside == 0


def test_bytes_that_wait_to_be_decoded_are_bounded() -> None:
    """
    With 1000 bytes allowed and 600 inside, 500 more are refused.

    Negative control: once the first are decoded they come in.
    """
    gate, _ = admission(requests=9)
    with gate.admit(600) as decoded:
        with pytest.raises(Busy), gate.admit(500):
            pass
        decoded()
        decoded()
        with gate.admit(500):
            assert gate.inside == 2


def test_a_request_alone_is_admitted_however_large() -> None:
    """A bound smaller than one upload does not refuse all of them for ever."""
    gate, _ = admission(upload_bytes=10)
    with gate.admit(5000):
        assert gate.inside == 1


def test_the_advice_is_at_least_a_second() -> None:
    """Before any request has ended, and when they end within milliseconds."""
    gate, clock = admission(requests=1)
    with gate.admit(1):
        assert advice(gate) == 1
        clock.now += 0.01
    with gate.admit(1):
        assert advice(gate) == 1


def test_the_advice_follows_recent_requests() -> None:
    """
    Two requests at once, of eight seconds each: one leaves every four. Each refused caller is told
    four seconds more than the one before; those that are due by now count no more.
    """
    gate, clock = admission(requests=2)
    for _ in range(3):
        with gate.admit(1), gate.admit(1):
            clock.now += 8
    with gate.admit(1), gate.admit(1):
        assert [advice(gate) for _ in range(3)] == [4, 8, 12]
        clock.now += 11
        assert advice(gate) == 8
        clock.now += 100
        assert advice(gate) == 4


def test_the_advice_is_bounded() -> None:
    """After a minute it is worth asking again, whatever the queue was."""
    gate, clock = admission(requests=1)
    with gate.admit(1):
        clock.now += 500
    with gate.admit(1):
        assert advice(gate) == 60


async def test_decoded_pictures_wait_for_their_bytes() -> None:
    """
    Room for two of the largest: the third waits until one turned out small.

    Negative control: while they may both be large it does wait.
    """
    budget = ByteBudget(2 * LARGEST)
    entered: list[int] = []
    release = asyncio.Event()

    async def work(number: int, size: int) -> None:
        async with budget.reserve() as reserved:
            entered.append(number)
            await release.wait()
            reserved.resize(size)
            await asyncio.Event().wait()

    async with asyncio.TaskGroup() as group:
        tasks = [group.create_task(work(number, 1000)) for number in range(3)]
        await _turns()
        assert entered == [0, 1]
        release.set()
        await _turns()
        assert entered == [0, 1, 2]
        assert budget.held == 3000
        for task in tasks:
            task.cancel()
    assert budget.held == 0


async def test_one_picture_always_fits() -> None:
    """A budget smaller than one picture takes them one by one."""
    budget = ByteBudget(1)
    async with budget.reserve() as reserved:
        reserved.resize(5000)
        waiting = asyncio.create_task(_enter(budget))
        await _turns()
        assert not waiting.done()
    await waiting
    assert budget.held == 0


@pytest.mark.parametrize("early", [True, False])
async def test_a_request_that_gives_up_waiting_holds_nothing(*, early: bool) -> None:
    """
    Cancelled while it waits, or in the very moment it is let in: nothing stays held.

    Negative control: the one behind it gets in.
    """
    budget = ByteBudget(1)
    async with budget.reserve():
        gone, behind = (asyncio.create_task(_enter(budget)) for _ in range(2))
        await _turns()
        if early:
            gone.cancel()
            await _turns()
    gone.cancel()
    await asyncio.gather(gone, behind, return_exceptions=True)
    assert gone.cancelled()
    assert not behind.cancelled()
    assert budget.held == 0


@pytest.mark.parametrize("told", [True, False])
async def test_a_request_that_gives_up_holds_its_bytes_until_its_thread_ends(*, told: bool) -> None:
    """
    Cancelled while a thread works on its picture: the next one gets in when that ends.

    Negative control: where the budget is not told of the thread, at once.
    """
    budget, executor = ByteBudget(1), ModelExecutor(side_threads=1)
    begun, go_on = threading.Event(), threading.Event()

    def work() -> None:
        begun.set()
        assert go_on.wait(20)

    async def ask() -> None:
        async with budget.reserve() as reserved:
            await executor.beside(work, reserved.keep_during if told else lambda _: None)

    gone = asyncio.create_task(ask())
    await asyncio.to_thread(begun.wait, 20)
    behind = asyncio.create_task(_enter(budget))
    gone.cancel()
    await _turns()
    assert behind.done() is not told
    assert bool(budget.held) is told
    go_on.set()
    await behind
    assert budget.held == 0
    executor.close()


async def test_what_never_began_holds_nothing() -> None:
    """Cancelled while the thread is busy with another's picture: free at once."""
    budget, executor = ByteBudget(1), ModelExecutor(side_threads=1)
    begun, go_on = threading.Event(), threading.Event()

    def work() -> None:
        begun.set()
        assert go_on.wait(20)

    async def ask() -> None:
        async with budget.reserve() as reserved:
            await executor.beside(lambda: None, reserved.keep_during)

    busy = asyncio.create_task(executor.beside(work))
    await asyncio.to_thread(begun.wait, 20)
    gone = asyncio.create_task(ask())
    await _turns()
    assert budget.held
    gone.cancel()
    await _turns()
    assert budget.held == 0
    go_on.set()
    await busy
    executor.close()


async def test_small_ones_do_not_pass_a_large_one() -> None:
    """
    A large share waits for its turn, not for all small ones that are asked for after it.

    Negative control: those asked for before it are given out at once.
    """
    budget, got = ByteBudget(10), []

    async def ask(name: str, size: int, stay: asyncio.Event) -> None:
        async with budget.reserve(size):
            got.append(name)
            await stay.wait()

    first, rest = asyncio.Event(), asyncio.Event()
    rest.set()
    tasks = [
        asyncio.create_task(ask("first", 4, first)),
        asyncio.create_task(ask("small", 4, first)),
    ]
    await _turns()
    tasks += [asyncio.create_task(ask("large", 8, rest)), asyncio.create_task(ask("late", 1, rest))]
    await _turns()
    assert got == ["first", "small"]
    first.set()
    await asyncio.gather(*tasks)
    assert got == ["first", "small", "large", "late"]


async def _enter(budget: ByteBudget) -> None:
    """Go in and out."""
    async with budget.reserve():
        pass


async def _turns() -> None:
    """Let every task go as far as it can."""
    for _ in range(20):
        await asyncio.sleep(0)
