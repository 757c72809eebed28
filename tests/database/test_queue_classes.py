"""Who may be given what: images and videos, and what a machine declares."""

from typing import Any

import psycopg
import pytest

from bench.queue_states.mutants import MUTANTS, mutated


pytestmark = pytest.mark.usefixtures("all_is_paid")

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
    """Negative control of the classes: each kind is asked for by name."""
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
        ({"memory_mb": 22_118}, {"memory_mb": 22_117}),
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
    await owner.submit(p_needs={"memory_mb": 73_728})
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


async def blocked_by(owner: Any, task: Any) -> str | None:
    """Why nobody can start the task."""
    status = await owner.call("queue_status", p_id=task["id"])
    reason: str | None = status["blocked_by"]
    return reason


async def test_a_task_that_nobody_can_do_says_so(owner: Any, machine: Any) -> None:
    """`blocked_by` is there while nobody online can do it, and gone when somebody comes."""
    small = {"memory_mb": 16_000}
    await machine.claim(p_capabilities=small)
    task = await owner.submit(p_needs={"memory_mb": 73_728})
    assert await blocked_by(owner, task) == "no_capable_worker"

    await machine.claim(p_capabilities={"memory_mb": 73_728, "kinds": ["video"]})
    assert await blocked_by(owner, task) == "no_capable_worker"

    await owner.submit()
    await machine.claim(p_worker="other", p_capabilities={"memory_mb": 16_000, "slots": 2})
    assert await blocked_by(owner, task) == "no_capable_worker"

    other = await owner.submit(p_needs={"memory_mb": 73_728})
    await machine.claim(p_worker="large", p_capabilities={"memory_mb": 73_728})
    assert await blocked_by(owner, other) is None


async def blocked_after_two_minutes(owner: Any, machine: Any, skip: Any) -> str | None:
    """`blocked_by` of a task whose only machine was not seen for two minutes."""
    needs = {"memory_mb": 73_728}
    await machine.claim(p_capabilities=needs)
    task = await owner.submit(p_needs=needs)
    assert await blocked_by(owner, task) is None
    await skip(121)
    return await blocked_by(owner, task)


async def test_a_task_is_blocked_when_its_machine_leaves(
    owner: Any, machine: Any, skip: Any
) -> None:
    """Who was not seen for two minutes is not online any more."""
    assert await blocked_after_two_minutes(owner, machine, skip) == "no_capable_worker"


async def test_without_asking_who_is_online_it_seems_startable(
    owner: Any, machine: Any, skip: Any, stack: Any
) -> None:
    """Negative control: a machine that left would still count."""
    with mutated(stack.db_url, MUTANTS["who is online is asked"]):
        assert await blocked_after_two_minutes(owner, machine, skip) is None


async def test_only_what_waits_is_blocked(owner: Any, machine: Any) -> None:
    """A task that ended, or is at work, is not."""
    ends = await owner.submit(p_needs={"memory_mb": 73_728})
    await owner.call("cancel_task", p_id=ends["id"])
    works = await owner.submit(p_needs={"memory_mb": 73_728})
    await machine.claim(p_capabilities={"memory_mb": 73_728})
    assert [await blocked_by(owner, task) for task in (ends, works)] == [None, None]
