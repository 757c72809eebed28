"""Who comes in: places, bytes, when to come back, and room for decoded pictures."""

import asyncio
import threading

import pytest

from pipeline.errors import Busy
from pipeline.model.executor import ModelExecutor
from pipeline.server.admission import Admission, Room
from s3_sam3.contracts import limits


LARGEST = 4 * limits.MAX_IMAGE_PIXELS


class Clock:
    """Stands still until it is moved."""

    now = 100.0

    def __call__(self) -> float:
        """Tell the time."""
        return self.now


def admission(places: int = 2, upload_bytes: int = 1000) -> tuple[Admission, Clock]:
    """A door and its clock."""
    clock = Clock()
    return Admission(places=places, upload_bytes=upload_bytes, clock=clock), clock


def advice(door: Admission) -> int:
    """What a refused caller is told."""
    with pytest.raises(Busy) as caught, door.place(1):
        pass
    return caught.value.seconds


def test_places_are_bounded_and_given_back() -> None:
    """The third of two is refused; a place that is free again can be taken."""
    door, _ = admission(places=2)
    with door.place(1):
        with door.place(1):
            assert door.inside == 2
            advice(door)
        with door.place(1):
            assert door.inside == 2
    assert door.inside == 0


def test_bytes_that_wait_to_be_decoded_are_bounded() -> None:
    """
    With 1000 bytes allowed and 600 inside, 500 more are refused.

    Negative control: once the first are decoded they come in.
    """
    door, _ = admission(places=9)
    with door.place(600) as decoded:
        with pytest.raises(Busy), door.place(500):
            pass
        decoded()
        decoded()
        with door.place(500):
            assert door.inside == 2


def test_whoever_is_alone_comes_in_however_large() -> None:
    """A bound smaller than one upload does not shut the door for good."""
    door, _ = admission(upload_bytes=10)
    with door.place(5000):
        assert door.inside == 1


def test_the_advice_is_at_least_a_second() -> None:
    """Before any request has ended, and when they end within milliseconds."""
    door, clock = admission(places=1)
    with door.place(1):
        assert advice(door) == 1
        clock.now += 0.01
    with door.place(1):
        assert advice(door) == 1


def test_the_advice_follows_recent_requests() -> None:
    """
    Two places, each taken for eight seconds: one is free every four. Each refused caller is told
    a turn behind the one before; tickets that have run out count no more.
    """
    door, clock = admission(places=2)
    for _ in range(3):
        with door.place(1), door.place(1):
            clock.now += 8
    with door.place(1), door.place(1):
        assert [advice(door) for _ in range(3)] == [4, 8, 12]
        clock.now += 11
        assert advice(door) == 8
        clock.now += 100
        assert advice(door) == 4


def test_the_advice_is_bounded() -> None:
    """After a minute it is worth asking again, whatever the queue was."""
    door, clock = admission(places=1)
    with door.place(1):
        clock.now += 500
    with door.place(1):
        assert advice(door) == 60


async def test_decoded_pictures_wait_for_room() -> None:
    """
    Room for two of the largest: the third waits until one turned out small.

    Negative control: while they may both be large it does wait.
    """
    room = Room(2 * LARGEST)
    entered: list[int] = []
    release = asyncio.Event()

    async def work(number: int, size: int) -> None:
        async with room.entered() as hold:
            entered.append(number)
            await release.wait()
            hold(size)
            await asyncio.Event().wait()

    async with asyncio.TaskGroup() as group:
        tasks = [group.create_task(work(number, 1000)) for number in range(3)]
        await _turns()
        assert entered == [0, 1]
        release.set()
        await _turns()
        assert entered == [0, 1, 2]
        assert room.held == 3000
        for task in tasks:
            task.cancel()
    assert room.held == 0


async def test_one_picture_always_fits() -> None:
    """Room for less than one picture takes them one by one."""
    room = Room(1)
    async with room.entered() as hold:
        hold(5000)
        waiting = asyncio.create_task(_enter(room))
        await _turns()
        assert not waiting.done()
    await waiting
    assert room.held == 0


@pytest.mark.parametrize("early", [True, False])
async def test_who_gives_up_waiting_takes_no_room(*, early: bool) -> None:
    """
    Cancelled while it waits, or in the very moment it is let in: nothing stays held.

    Negative control: the one behind it gets in.
    """
    room = Room(1)
    async with room.entered():
        gone, behind = (asyncio.create_task(_enter(room)) for _ in range(2))
        await _turns()
        if early:
            gone.cancel()
            await _turns()
    gone.cancel()
    await asyncio.gather(gone, behind, return_exceptions=True)
    assert gone.cancelled()
    assert not behind.cancelled()
    assert room.held == 0


@pytest.mark.parametrize("told", [True, False])
async def test_who_gives_up_holds_his_room_until_his_thread_has_ended(*, told: bool) -> None:
    """
    Cancelled while a thread works on his picture: the next one gets in when that ends.

    Negative control: where the room is not told of the thread, at once.
    """
    room, executor = Room(1), ModelExecutor(side_threads=1)
    begun, go_on = threading.Event(), threading.Event()

    def work() -> None:
        begun.set()
        assert go_on.wait(20)

    async def ask() -> None:
        async with room.entered() as hold:
            await executor.beside(work, hold.during if told else lambda _: None)

    gone = asyncio.create_task(ask())
    await asyncio.to_thread(begun.wait, 20)
    behind = asyncio.create_task(_enter(room))
    gone.cancel()
    await _turns()
    assert behind.done() is not told
    assert bool(room.held) is told
    go_on.set()
    await behind
    assert room.held == 0
    executor.close()


async def test_what_never_began_holds_no_room() -> None:
    """Cancelled while the thread is busy with another's picture: free at once."""
    room, executor = Room(1), ModelExecutor(side_threads=1)
    begun, go_on = threading.Event(), threading.Event()

    def work() -> None:
        begun.set()
        assert go_on.wait(20)

    async def ask() -> None:
        async with room.entered() as hold:
            await executor.beside(lambda: None, hold.during)

    busy = asyncio.create_task(executor.beside(work))
    await asyncio.to_thread(begun.wait, 20)
    gone = asyncio.create_task(ask())
    await _turns()
    assert room.held
    gone.cancel()
    await _turns()
    assert room.held == 0
    go_on.set()
    await busy
    executor.close()


async def test_small_ones_do_not_pass_a_large_one() -> None:
    """
    Whoever needs much waits for his turn only, not for all who come behind him and need little.

    Negative control: before him they get in.
    """
    room, got = Room(10), []

    async def ask(name: str, size: int, stay: asyncio.Event) -> None:
        async with room.entered(size):
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


async def _enter(room: Room) -> None:
    """Go in and out."""
    async with room.entered():
        pass


async def _turns() -> None:
    """Let every task go as far as it can."""
    for _ in range(20):
        await asyncio.sleep(0)
