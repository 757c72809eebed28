"""Tasks that wait on one picture go together: one slot, one read, and each its own end."""

import asyncio
import dataclasses
import uuid

import pytest
from fake_pipeline import PICTURE, FakePipeline
from listeners import QUICK_LEASE, Listening, Spawn, claimed
from task_queue import Queue, until
from typing_extensions import override

from adapters import objects
from listener import errors
from listener.lease_store import Claim
from listener.ride import Ride, rides
from listener.task_objects import TaskObjects
from listener.worker import Worker
from s3_sam3.contracts.errors import ErrorCode
from s3_sam3.contracts.tasks import ReleaseReason, TaskStatus


class CountingObjects(TaskObjects):
    """Counts the reads, and lets each wait for the gate; the rest is the store's behind it."""

    def __init__(self, behind: TaskObjects | None = None) -> None:
        self.read: list[str] = []
        self.gate = asyncio.Event()
        self.gate.set()
        self.missing = False
        self._behind = behind

    @override
    async def read_source(self, claim: Claim) -> bytes:
        self.read.append(claim.source_image_url)
        await self.gate.wait()
        if self.missing:
            raise objects.ObjectNotFound(claim.source_image_url)
        return await self._behind.read_source(claim) if self._behind else PICTURE

    @override
    async def write_result(self, claim: Claim, name: str, data: bytes, content_type: str) -> str:
        assert self._behind
        return await self._behind.write_result(claim, name, data, content_type)


def test_claims_with_one_lead_are_one_ride() -> None:
    """What the database put together stays together, in its order."""
    claims = [claimed(1, 1), claimed(2, 2), claimed(3, 1), claimed(4, 4), claimed(5, 1)]

    assert [[one.token for one in ride] for ride in rides(claims)] == [[1, 3, 5], [2], [4]]


async def test_a_ride_reads_its_picture_once() -> None:
    """Sixteen riders, one read. Negative control: sixteen that ride alone read sixteen times."""
    together, apart = CountingObjects(), CountingObjects()
    ride = Ride(together)
    await asyncio.gather(*(ride.picture(claimed(token, 1)) for token in range(1, 17)))
    await asyncio.gather(*(Ride(apart).picture(claimed(token, token)) for token in range(1, 17)))

    assert (len(together.read), len(apart.read)) == (1, 16)


async def test_nobody_gets_a_picture_that_is_not_theirs() -> None:
    """Another picture or another user's is read anew, whatever the lead says."""
    store = CountingObjects()
    ride = Ride(store)
    await ride.picture(claimed(1, 1))
    await ride.picture(claimed(2, 1, picture="other"))
    await ride.picture(claimed(3, 1, user=uuid.uuid4()))

    assert len(store.read) == 3


async def test_a_rider_that_leaves_spoils_nothing() -> None:
    """The one whose read it is goes; the other gets the picture of the same read."""
    store = CountingObjects()
    store.gate.clear()
    ride = Ride(store)
    first = asyncio.create_task(ride.picture(claimed(1, 1)))
    second = asyncio.create_task(ride.picture(claimed(2, 1)))
    await until(lambda: store.read)
    first.cancel()
    store.gate.set()

    assert await second == PICTURE
    assert len(store.read) == 1


async def test_a_read_that_fails_fails_for_all() -> None:
    """One look at a missing picture is enough for all riders."""
    store = CountingObjects()
    store.missing = True
    ride = Ride(store)
    for token in (1, 2):
        with pytest.raises(errors.SourceNotFound):
            await ride.picture(claimed(token, 1))

    assert len(store.read) == 1


async def test_tasks_on_one_picture_go_together(
    queue: Queue, listening: Listening, fake_pipeline: FakePipeline
) -> None:
    """Five tasks: one slot, one read, one after the other for one owner, each with its result."""
    fake_pipeline.gate.clear()
    ids = [await queue.submit(f"dog {number}") for number in range(5)]
    async with listening(LISTENER_CONCURRENCY=1, LISTENER_POLL_SECONDS=3600) as worker:
        reads = counted(worker)
        for task_id in ids:
            await until(lambda each=task_id: _has_its_picture(queue, each))
        # Whoever did not stand in line would be at the pipeline by now.
        assert fake_pipeline.inside == 1
        fake_pipeline.gate.set()
        for task_id in ids:
            await queue.reaches(task_id, TaskStatus.DONE)

    attempts = [attempt for task_id in ids for attempt in await queue.attempts(task_id)]
    assert {attempt["lead_token"] for attempt in attempts} == {attempts[0]["token"]}
    assert reads.read == [queue.picture_key]
    assert fake_pipeline.most_inside == 1
    assert {asked.scope for asked in fake_pipeline.asked} == {queue.user.id}
    for task_id, attempt in zip(ids, attempts, strict=True):
        assert f"/{attempt['token']}/" in (await queue.row(task_id))["manifest_url"]
        assert await queue.ledger(task_id) == ["hold", "capture"]


async def test_tasks_on_different_pictures_are_read_each(
    queue: Queue, listening: Listening
) -> None:
    """Negative control: five pictures are five reads."""
    ids = [await queue.submit(picture_key=await queue.another_picture()) for _ in range(5)]
    async with listening(LISTENER_POLL_SECONDS=3600) as worker:
        reads = counted(worker)
        for task_id in ids:
            await queue.reaches(task_id, TaskStatus.DONE)

    assert len(reads.read) == 5


async def test_one_riders_failure_is_its_own(
    queue: Queue, listening: Listening, fake_pipeline: FakePipeline
) -> None:
    """The one in the middle is refused for good; the others are done."""
    fake_pipeline.refusals = {"bad": ErrorCode.PROMPT_TOO_LONG}
    first, bad, last = [await queue.submit(text) for text in ("a", "bad", "b")]
    async with listening():
        await queue.reaches(bad, TaskStatus.FAILED)
        for task_id in (first, last):
            await queue.reaches(task_id, TaskStatus.DONE)


async def test_one_riders_cancellation_is_its_own(
    queue: Queue, spawn: Spawn, fake_pipeline: FakePipeline
) -> None:
    """
    Cancelled at the pipeline it hangs up there; cancelled in line it is never asked for.

    The others are done.
    """
    fake_pipeline.gate.clear()
    asked, waiting, last = [await queue.submit(text) for text in ("a", "b", "c")]
    listener = await spawn(**QUICK_LEASE)
    await until(lambda: len(fake_pipeline.asked) == 1)
    await queue.cancel(waiting)
    await until(lambda: listener.said("lease_lost"))
    await queue.cancel(asked)
    await until(lambda: fake_pipeline.hung_up)
    fake_pipeline.gate.set()
    await queue.reaches(last, TaskStatus.DONE)

    assert [each.prompts[0].text for each in fake_pipeline.asked] == ["a", "c"]
    assert [each.prompts[0].text for each in fake_pipeline.hung_up] == ["a"]


async def test_a_stop_gives_back_those_in_line_too(
    queue: Queue, spawn: Spawn, fake_pipeline: FakePipeline
) -> None:
    """After the grace the one at the pipeline and those behind it are pending, nothing burnt."""
    fake_pipeline.gate.clear()
    ids = [await queue.submit() for _ in range(3)]
    listener = await spawn(LISTENER_GRACE_SECONDS=0.2)
    await until(lambda: len(fake_pipeline.asked) == 1)

    listener.process.terminate()

    assert await listener.process.wait() == 0
    rows = [await queue.row(task_id) for task_id in ids]
    assert [(row["status"], row["attempt_count"]) for row in rows] == [("pending", 0)] * 3
    assert len(listener.said("task_released")) == 3


async def test_who_never_had_a_turn_loses_no_attempt(
    queue: Queue, listening: Listening, fake_pipeline: FakePipeline
) -> None:
    """The one at the pipeline fails at the deadline; the one in line was given back before."""
    fake_pipeline.gate.clear()
    asked, waiting = [await queue.submit(text) for text in ("a", "b")]
    # No reaper beside it, which ends what is over its deadline alike.
    async with listening(
        LISTENER_DEADLINE_SECONDS=2, LISTENER_POLL_SECONDS=3600, **QUICK_LEASE
    ) as worker:
        await until(lambda: len(fake_pipeline.asked) == 1)
        await until(lambda: not worker.claimer.running)

    assert [one["error_code"] for one in await queue.attempts(asked)] == ["deadline_exceeded"]
    assert (await queue.attempts(waiting))[0]["release_reason"] == ReleaseReason.UNABLE


async def _has_its_picture(queue: Queue, task_id: str) -> bool:
    return bool((await queue.row(task_id))["progress"] > 0)


def counted(worker: Worker) -> CountingObjects:
    """Count what the worker reads from now on."""
    bench = worker.claimer._bench
    counting = CountingObjects(bench.objects)
    worker.claimer._bench = dataclasses.replace(bench, objects=counting)
    return counting
