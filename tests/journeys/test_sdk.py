"""The SDK against a whole S3: real API, database, Realtime, object store and worker."""

import asyncio
import contextlib
from pathlib import Path

import pytest
from journeys.service import Service, new_session
from pictures import shapes
from task_queue import until

from s3_sam3 import ApiError, S3Client, TaskCancelled, Unreachable, WaitedTooLong
from s3_sam3.contracts import bodies
from s3_sam3.contracts.errors import ErrorCode
from s3_sam3.contracts.prompts import Prompt, SegmentOptions
from s3_sam3.contracts.tasks import TaskStatus


async def test_segment_finds_each_prompt_and_saves_it(s3: S3Client, tmp_path: Path) -> None:
    """One call gives the manifest, results apart by prompt, and the files."""
    found = await s3.segment(shapes(), "red circle", Prompt(id="sky", text="blue square"))

    assert [prompt.id for prompt in found.manifest.prompts] == ["p0", "sky"]
    assert found.manifest.instance_count == 2
    paths = found.save(tmp_path)
    assert paths["mask.png"].read_bytes()[:4] == b"\x89PNG"
    assert paths["overlay.webp"].read_bytes()[8:12] == b"WEBP"


async def test_watch_tells_every_state_by_realtime(s3: S3Client) -> None:
    """The states arrive in order and end with a final one, without waiting for the slow poll."""
    upload = await s3.upload(shapes())
    task = await s3.submit(upload.image_url, "red circle")

    async with asyncio.timeout(8):
        states = [state.status async for state in s3.watch(task.task_id)]

    order = list(TaskStatus)
    assert states == sorted(states, key=order.index)
    assert states[-1] is TaskStatus.DONE


async def test_the_price_is_captured_once(s3: S3Client) -> None:
    """Two prompts cost two credits, held and then captured."""
    before = (await s3.me()).credits
    await s3.segment(shapes(), "red circle", "blue square")

    assert (await s3.me()).credits == before - 2
    actions = [entry.action for entry in (await s3.usage()).items]
    assert sorted(actions) == ["capture", "grant", "hold"]


async def test_each_tile_is_paid_and_a_rethreshold_is_free(s3: S3Client) -> None:
    """A prompt in 2 x 2 tiles costs five credits; re-thresholding its result costs nothing."""
    found = await s3.segment(shapes(), "red circle", options=SegmentOptions(tiles=2))
    [first] = found.manifest.prompts
    assert (found.result.credits, found.result.credits_charged) == (5, 5)
    assert first.instances

    manifest = await s3.rethreshold(found.result.task_id, threshold=1)

    [second] = manifest.prompts
    assert not second.instances
    assert len(second.candidates) == len(first.instances) + len(first.candidates)
    assert (await s3.me()).credits == 95


async def test_the_same_key_is_the_same_task(s3: S3Client) -> None:
    """A submit repeated with its key answers the first task and holds nothing more."""
    upload = await s3.upload(shapes())
    first = await s3.submit(upload.image_url, "red circle", idempotency_key="k1")
    again = await s3.submit(upload.image_url, "red circle", idempotency_key="k1")

    assert again.task_id == first.task_id
    await s3.wait(first.task_id)
    assert (await s3.me()).credits == 99


async def test_another_users_task_is_not_there(s3: S3Client, service: Service) -> None:
    """Another user's task answers `not_found`, as an unknown one does."""
    upload = await s3.upload(shapes())
    task = await s3.submit(upload.image_url, "red circle")
    async with S3Client(
        await new_session(service), api_url=service.settings.s3_api_url
    ) as stranger:
        with pytest.raises(ApiError) as refused:
            await stranger.task(task.task_id)

    assert refused.value.code is ErrorCode.NOT_FOUND


async def test_a_prompt_that_finds_nothing_is_a_success(s3: S3Client) -> None:
    """Zero instances is a result, not an error."""
    found = await s3.segment(shapes(), "white star")

    assert found.manifest.instance_count == 0


async def test_a_timeout_leaves_the_task_alone(s3: S3Client) -> None:
    """Waiting too long raises, and the task can still be waited for."""
    upload = await s3.upload(shapes())
    task = await s3.submit(upload.image_url, "red circle")
    with pytest.raises(WaitedTooLong):
        await s3.wait(task.task_id, timeout_seconds=0)

    assert (await s3.wait(task.task_id)).status is TaskStatus.DONE


async def test_results_are_paged_newest_first(s3: S3Client) -> None:
    """Pages follow each other without a gap or a repeat."""
    upload = await s3.upload(shapes())
    tasks = [await s3.submit(upload.image_url, "red circle") for _ in range(3)]
    first = await s3.results(limit=2)
    second = await s3.results(limit=2, cursor=first.next_cursor)

    ids = [item.task_id for page in (first, second) for item in page.items]
    assert ids == [task.task_id for task in reversed(tasks)]
    assert second.next_cursor is None


async def test_a_deleted_result_is_gone_with_its_objects(s3: S3Client) -> None:
    """Deleting takes the row at once and the files soon; then the old URL answers nothing."""
    found = await s3.segment(shapes(), "red circle")
    url = found.result.mask_download_url
    assert await s3.download(url) == found.mask_png
    await s3.delete_result(found.result.task_id)

    with pytest.raises(ApiError, match="not_found"):
        await s3.result(found.result.task_id)

    async def gone() -> bool:
        try:
            await s3.download(url)
        except ApiError:
            return True
        return False

    await until(gone, seconds=30)


async def test_cancelling_gives_the_credits_back(s3: S3Client) -> None:
    """A cancelled task costs nothing; the one that ended first says `already_final` and is paid."""
    upload = await s3.upload(shapes())
    task = await s3.submit(upload.image_url, "red circle")
    with contextlib.suppress(ApiError):
        await s3.cancel(task.task_id)
    with contextlib.suppress(TaskCancelled):
        await s3.wait(task.task_id)

    ended = await s3.task(task.task_id)
    paid = 1 if ended.status is TaskStatus.DONE else 0
    assert (await s3.me()).credits == 100 - paid


async def test_a_task_that_nobody_can_do_says_so_and_ends_at_its_deadline(s3: S3Client) -> None:
    """It says what it waits for, then it is cancelled as `expired` without charge."""
    seen: list[bodies.Task] = []
    with pytest.raises(TaskCancelled) as ended:
        await s3.segment(
            shapes(),
            "red circle",
            deadline_seconds=1,
            needs=bodies.Needs(memory_mb=1_000_000),
            on_change=seen.append,
        )

    assert seen[0].blocked_by is not None
    assert seen[0].blocked_by.code is ErrorCode.NO_CAPABLE_WORKER
    assert seen[0].expires_at is not None
    assert ended.value.error is not None
    assert ended.value.error.code is ErrorCode.EXPIRED
    assert seen[-1].credits_charged == 0
    assert (await s3.me()).credits == 100


async def test_what_a_machine_has_is_no_hindrance(s3: S3Client) -> None:
    """Negative control: a need that the machine meets, and a deadline far away, change nothing."""
    found = await s3.segment(
        shapes(), "red circle", deadline_seconds=600, needs=bodies.Needs(memory_mb=None)
    )

    assert found.result.credits_charged == 1
    assert found.result.needs.pixels == found.manifest.image.width * found.manifest.image.height


async def test_an_ended_task_cannot_be_cancelled(s3: S3Client) -> None:
    """Cancelling a final task answers `already_final`."""
    found = await s3.segment(shapes(), "red circle")

    with pytest.raises(ApiError) as refused:
        await s3.cancel(found.result.task_id)
    assert refused.value.code is ErrorCode.ALREADY_FINAL


async def test_nobody_at_the_address(s3: S3Client) -> None:
    """A wrong address raises one of the SDK's errors, not httpx's."""
    async with S3Client(s3.session, api_url="http://127.0.0.1:9") as lost:
        with pytest.raises(Unreachable, match="s3 up"):
            await lost.me()
