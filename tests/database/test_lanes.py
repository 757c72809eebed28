"""Who may be given what: images and videos, and what a machine declares."""

from typing import Any

import psycopg
import pytest

from bench.queue_states.mutants import MUTANTS, Mutant, mutated


pytestmark = pytest.mark.usefixtures("all_is_paid")

COMES_BACK_MARKED = Mutant(
    "retry_or_fail", "blocked_by = segmentation.mark_of(results.lane_id),", ""
)

ABLE: dict[str, Any] = {
    "kinds": ["image"],
    "memory_mb": 24_576,
    "model_revision": "r1",
    "dtype": "bf16",
    "max_pixels": 4_000_000,
}


async def film(owner: Any, operator: Any) -> str:
    """Queue a video of the owner's, as only the house does; its id."""
    async with operator.pool.connection() as connection, connection.transaction():
        await connection.execute(
            "select set_config('request.jwt.claims', json_build_object('sub', %s::text)::text,"
            " true)",
            [owner.id],
        )
        rows = await connection.execute(
            "insert into public.segmentation_results (source_image_url, text_prompt, kind)"
            " values (%s, 'cat', 'video') returning id",
            [f"uploads/{owner.id}/film.mp4"],
        )
        return str((await rows.fetchall())[0]["id"])


async def test_a_video_goes_to_a_machine_with_video(
    owner: Any, machine: Any, operator: Any
) -> None:
    """Who declares images, or nothing, is given no video."""
    video = await film(owner, operator)
    assert await machine.claim() == []
    assert await machine.claim(p_capabilities={"kinds": ["image"]}) == []
    [claim] = await machine.claim(p_capabilities={"kinds": ["image", "video"]})
    assert (str(claim["id"]), claim["kind"]) == (video, "video")


async def test_a_video_machine_is_given_no_image(owner: Any, machine: Any) -> None:
    """Negative control of the lanes: each kind is asked for by name."""
    await owner.submit()
    assert await machine.claim(p_capabilities={"kinds": ["video"]}) == []


async def test_videos_do_not_block_images(owner: Any, machine: Any, operator: Any) -> None:
    """Images behind twenty videos are claimed as if the videos were not there."""
    for _ in range(20):
        await film(owner, operator)
    task = await owner.submit()
    [claim] = await machine.claim()
    assert str(claim["id"]) == task["id"]


async def test_users_submit_no_videos_yet(owner: Any) -> None:
    """`kind` is no column of a user's insert."""
    with pytest.raises(psycopg.errors.InsufficientPrivilege):
        await owner.queue(1, kind="video")


@pytest.mark.parametrize(
    ("needs", "too_little"),
    [
        ({"memory_mb": 24_576}, {"memory_mb": 24_575}),
        ({"memory_mb": 1024}, {"memory_mb": None}),
        ({"pixels": 4_000_000}, {"max_pixels": 3_999_999}),
        ({"dtype": "bf16"}, {"dtype": "fp16"}),
        ({"dtype": "bf16"}, {"dtype": None}),
        ({"model_revision": "r1"}, {"model_revision": "r2"}),
        ({"model_revision": "r1"}, {"model_revision": None}),
    ],
)
async def test_a_task_goes_to_a_machine_that_can_do_it(
    owner: Any, machine: Any, needs: dict[str, Any], too_little: dict[str, Any]
) -> None:
    """A machine that declares less is given nothing; one that declares just enough gets it."""
    await machine.claim(p_capabilities=ABLE)
    await owner.submit(p_needs=needs)
    less = {name: value for name, value in (ABLE | too_little).items() if value is not None}
    assert await machine.claim(p_capabilities=less) == []
    assert len(await machine.claim(p_capabilities=ABLE)) == 1


async def test_a_task_that_asks_for_nothing_goes_to_anybody(owner: Any, machine: Any) -> None:
    """Needs are floors: a machine that declares nothing does what asks for nothing."""
    await owner.submit()
    assert len(await machine.claim(p_capabilities={})) == 1


async def test_what_a_machine_cannot_do_does_not_block_it(owner: Any, machine: Any) -> None:
    """Tasks behind one that needs more are claimed in its stead."""
    await owner.submit(p_needs={"memory_mb": 81_920})
    task = await owner.submit()
    [claim] = await machine.claim(p_capabilities=ABLE)
    assert str(claim["id"]) == task["id"]


@pytest.mark.parametrize(
    "needs",
    [
        [],
        {"colour": "red"},
        {"memory_mb": "much"},
        {"memory_mb": -1},
        {"pixels": 1.5},
        {"dtype": "int8"},
        {"model_revision": ""},
        {"model_revision": 7},
    ],
)
async def test_needs_without_sense_are_refused(owner: Any, refused: Any, needs: Any) -> None:
    """Unknown keys and types are an error, not a task that waits for ever."""
    with refused("PT400", "invalid_request"):
        await owner.submit(p_needs=needs)


async def test_a_revision_that_nobody_has_is_refused(
    owner: Any, machine: Any, refused: Any
) -> None:
    """A misspelt model_revision is refused at once; one that a worker has declared is taken."""
    await machine.claim(p_capabilities=ABLE)
    with refused("PT400", "invalid_request"):
        await owner.submit(p_needs={"model_revision": "r9"})
    assert (await owner.submit(p_needs={"model_revision": "r1"}))["status"] == "pending"


@pytest.mark.parametrize(
    "capabilities",
    [[], {"memory_mb": "much"}, {"kinds": "image"}, {"max_pixels": -1}, {"memory_mb": -1}],
)
async def test_capabilities_without_sense_are_refused(
    machine: Any, refused: Any, capabilities: Any
) -> None:
    """A worker that declares nonsense is told so."""
    with refused("PT400", "invalid_request"):
        await machine.claim(p_capabilities=capabilities)


async def test_a_task_that_nobody_can_do_says_so(
    owner: Any, machine: Any, task_row: Any, skip: Any
) -> None:
    """`blocked_by` appears when nobody online can do it, and goes when somebody comes."""
    small = {"memory_mb": 16_000}
    await machine.claim(p_capabilities=small)
    task = await owner.submit(p_needs={"memory_mb": 81_920})
    await machine.call("reap_tasks")
    assert (await task_row(task["id"]))["blocked_by"] == "no_capable_worker"

    await owner.submit()
    await machine.claim(p_capabilities={"memory_mb": 81_920, "kinds": ["video"]})
    await machine.call("reap_tasks")
    assert (await task_row(task["id"]))["blocked_by"] == "no_capable_worker"

    await machine.claim(p_worker="other", p_capabilities=small | {"memory_mb": 81_920})
    await machine.call("reap_tasks")
    assert (await task_row(task["id"]))["blocked_by"] is None


async def test_a_task_is_blocked_again_when_its_machine_leaves(
    owner: Any, machine: Any, task_row: Any, skip: Any
) -> None:
    """Who was not seen for two minutes is not online any more."""
    needs = {"memory_mb": 81_920}
    await machine.claim(p_capabilities=needs)
    task = await owner.submit(p_needs=needs)
    await machine.call("reap_tasks")
    assert (await task_row(task["id"]))["blocked_by"] is None
    await skip(121)
    await machine.call("reap_tasks")
    assert (await task_row(task["id"]))["blocked_by"] == "no_capable_worker"


async def test_only_what_waits_is_blocked(
    owner: Any, machine: Any, task_row: Any, skip: Any
) -> None:
    """A task that ended, or is at work, carries no `blocked_by`."""
    ends = await owner.submit(p_needs={"memory_mb": 81_920})
    await machine.call("reap_tasks")
    await owner.call("cancel_task", p_id=ends["id"])
    works = await owner.submit(p_needs={"memory_mb": 81_920})
    await machine.call("reap_tasks")
    await machine.claim(p_capabilities={"memory_mb": 81_920})
    for task in (ends, works):
        assert (await task_row(task["id"]))["blocked_by"] is None


async def mark_when_somebody_comes(owner: Any, machine: Any, task_row: Any) -> str | None:
    """`blocked_by` of a task that was submitted before anybody was ever there."""
    await owner.submit()
    waits = await owner.submit()
    assert (await task_row(waits["id"]))["blocked_by"] == "no_capable_worker"
    await machine.claim()
    await machine.call("reap_tasks")
    mark: str | None = (await task_row(waits["id"]))["blocked_by"]
    return mark


async def test_a_mark_ends_when_the_first_worker_comes(
    owner: Any, machine: Any, task_row: Any
) -> None:
    """Whoever set the mark and whenever, it ends when somebody online can do the task."""
    assert await mark_when_somebody_comes(owner, machine, task_row) is None


async def test_without_the_look_a_mark_stays(
    owner: Any, machine: Any, task_row: Any, stack: Any
) -> None:
    """Negative control: a mark that nobody takes away is noticed."""
    with mutated(stack.db_url, MUTANTS["a mark ends when somebody comes"]):
        assert await mark_when_somebody_comes(owner, machine, task_row) == "no_capable_worker"


async def mark_after_the_return(owner: Any, machine: Any, operator: Any, task_row: Any) -> Any:
    """`blocked_by` of a task that comes back when its only machine is gone."""
    needs = {"memory_mb": 81_920}
    task = await owner.submit(p_needs=needs)
    [claim] = await machine.claim(p_capabilities=needs)
    await operator.rows("update segmentation.workers set last_seen_at = now() - interval '1 hour'")
    await machine.call("fail_task", p_token=claim["token"], p_error_code="pipeline_failed")
    return (await task_row(task["id"]))["blocked_by"]


async def test_a_task_that_comes_back_says_whether_anybody_can_do_it(
    owner: Any, machine: Any, operator: Any, task_row: Any
) -> None:
    """It says so at once; its owner need not wait for the next reaper."""
    mark = await mark_after_the_return(owner, machine, operator, task_row)
    assert mark == "no_capable_worker"


async def test_without_the_mark_a_returned_task_seems_startable(
    owner: Any, machine: Any, operator: Any, task_row: Any, stack: Any
) -> None:
    """Negative control of the mark at the return."""
    with mutated(stack.db_url, COMES_BACK_MARKED):
        assert await mark_after_the_return(owner, machine, operator, task_row) is None
