"""Many pictures in one call: none twice, none stops another, done ones stay done."""

import asyncio
import uuid
from pathlib import Path
from typing import Any

import pytest
from fake_service import FakeService
from segment_batches import batch

from s3_sam3 import ApiError, TaskFailed, Unreachable
from s3_sam3.cli.batch import Request, Row
from s3_sam3.cli.batch_folder import is_complete, read
from s3_sam3.contracts.errors import ErrorCode
from s3_sam3.contracts.prompts import Prompt, SegmentOptions


def names(rows: list[Row]) -> list[str]:
    """The pictures' names, sorted."""
    return sorted(row.picture.stem for row in rows)


def forget(out: Path) -> None:
    """Lose the records of the pictures, as a kill before they were written does."""
    for record in out.glob("*/task.json"):
        record.unlink()


async def test_each_picture_has_its_files(
    service: FakeService, pictures: list[Path], out: Path
) -> None:
    """Manifest, mask and overlay of each lie in a folder named after it."""
    done = await batch(service, pictures, out)

    assert all(row.done for row in done.rows)
    assert all(is_complete(out / name) for name in "abcde")


async def test_at_most_so_many_at_a_time(
    service: FakeService, pictures: list[Path], out: Path
) -> None:
    """Two jobs are two pictures at a time, no more and no fewer."""
    service.together = asyncio.Barrier(2)
    await batch(service, pictures[:4], out, jobs=2)

    assert service.most_at_once == 2


async def test_a_done_picture_is_not_submitted_again(
    service: FakeService, pictures: list[Path], out: Path
) -> None:
    """The second call submits only the new picture."""
    await batch(service, pictures[:4], out)
    again = await batch(service, pictures, out)

    assert names([row for row in again.rows if row.before]) == list("abcd")
    assert len(service.tasks) == 5


async def test_another_request_is_submitted(
    service: FakeService, pictures: list[Path], out: Path
) -> None:
    """Other prompts or options are another request, and so is a picture with other bytes."""
    await batch(service, pictures, out)
    cat = Request(prompts=(Prompt(id="p0", text="cat"),), options=SegmentOptions())
    await batch(service, pictures, out, cat)
    await batch(
        service, pictures, out, Request(prompts=cat.prompts, options=SegmentOptions(nms=0.5))
    )
    assert len(service.tasks) == 15

    pictures[0].write_text("changed")
    await batch(service, pictures[:1], out, cat)
    assert len(service.tasks) == 16


async def test_a_failure_stops_no_other_and_is_tried_again(
    service: FakeService, pictures: list[Path], out: Path
) -> None:
    """One task fails; the others are done, and the next call submits only that one again."""
    first = iter([True])

    def fail_once(task_id: uuid.UUID) -> None:
        if next(first, False):
            raise TaskFailed(task_id, None)

    service.before_wait = fail_once
    done = await batch(service, pictures, out, jobs=1)
    again = await batch(service, pictures, out, jobs=1)

    assert names([row for row in done.rows if not row.done]) == ["a"]
    assert all(row.done for row in again.rows)
    assert len(service.tasks) == 6


async def test_a_task_that_may_go_on_is_waited_for_again(
    service: FakeService, pictures: list[Path], out: Path
) -> None:
    """After a lost connection the next call waits for the same task."""
    service.before_wait = _raises(Unreachable("http://s3", "gone"))
    await batch(service, pictures[:1], out)
    service.before_wait = lambda task_id: None
    service.before_submit = _raises(AssertionError("it was submitted twice"))
    again = await batch(service, pictures[:1], out)

    assert all(row.done for row in again.rows)


async def test_a_kill_between_submit_and_record_is_not_paid_twice(
    service: FakeService, pictures: list[Path], out: Path
) -> None:
    """Without its record a task is found again by its key."""
    await batch(service, pictures, out)
    forget(out)
    again = await batch(service, pictures, out)

    assert all(row.done and not row.before for row in again.rows)
    assert len(service.tasks) == 5


async def test_control_another_run_has_other_keys(
    service: FakeService, pictures: list[Path], out: Path
) -> None:
    """Negative control: without the run's name every picture would be a task again."""
    await batch(service, pictures, out)
    forget(out)
    (out / ".s3-run").unlink()
    await batch(service, pictures, out)

    assert len(service.tasks) == 10


@pytest.mark.parametrize(
    "error",
    [
        Unreachable("http://s3", "gone"),
        ApiError(status=402, code=ErrorCode.INSUFFICIENT_CREDITS, message="no credits"),
        ApiError(status=401, code=ErrorCode.UNAUTHENTICATED, message="who are you"),
    ],
    ids=lambda error: type(error).__name__,
)
async def test_what_would_fail_every_picture_stops_the_rest(
    service: FakeService, pictures: list[Path], out: Path, error: Exception
) -> None:
    """No service, no credits, signed out: the remaining pictures are not tried."""
    service.before_submit = _raises(error)
    done = await batch(service, pictures, out, jobs=1)

    assert done.stopped is error
    assert [row.error for row in done.rows[1:]] == ["not begun"] * 4


async def test_rate_limits_are_waited_for(
    service: FakeService, pictures: list[Path], out: Path
) -> None:
    """`rate_limited` means too many pending tasks; the picture is submitted a little later."""
    refusals = iter([True])

    def refuse_once(image_url: str) -> None:
        if next(refusals, False):
            raise ApiError(status=429, code=ErrorCode.RATE_LIMITED, message="too many")

    service.before_submit = refuse_once
    done = await batch(service, pictures[:1], out)

    assert all(row.done for row in done.rows)


async def test_pictures_of_one_name_have_folders_of_their_own(
    service: FakeService, pictures: list[Path], out: Path, tmp_path: Path
) -> None:
    """A second `a.png` lies beside the first; both are found again."""
    other = tmp_path / "a.png"
    other.write_text("another picture")
    await batch(service, [pictures[0], other], out, jobs=1)
    again = await batch(service, [other, pictures[0]], out, jobs=1)

    assert len({row.folder for row in again.rows}) == 2
    assert all(row.before for row in again.rows)


async def test_the_same_bytes_are_paid_once(
    service: FakeService, pictures: list[Path], out: Path
) -> None:
    """Two files with the same bytes share a task, and both have its files."""
    pictures[1].write_bytes(pictures[0].read_bytes())
    await batch(service, pictures[:2], out)

    assert len(service.tasks) == 1
    assert is_complete(out / "a")
    assert is_complete(out / "b")


async def test_a_damaged_record_is_as_none(
    service: FakeService, pictures: list[Path], out: Path
) -> None:
    """A picture with half a record is submitted again, and found by its key."""
    await batch(service, pictures[:1], out)
    (out / "a" / "task.json").write_text('{"picture": ')
    again = await batch(service, pictures[:1], out)

    assert read(out / "a") is not None
    assert all(row.done for row in again.rows)
    assert len(service.tasks) == 1


def _raises(error: Exception) -> Any:
    def raise_it(_: object) -> None:
        raise error

    return raise_it
