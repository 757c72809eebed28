"""What a call reads does not grow with what it need not look at: counted in blocks, not seconds."""

from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from bench.queue_states.mutants import Mutant, mutated


MANY = 4000
FEW_BLOCKS = 100
"""Read beside what the same call reads where there is nothing; many rows lie on more blocks."""

FILL = """
    insert into public.segmentation_results (
        user_id, source_image_url, prompts, cost, queue_class_id, virtual_start,
        status, started_at, finished_at, charged, manifest_url, instance_count
    )
    select
        %(user)s::uuid,
        'uploads/' || %(user)s::text || '/' || md5(n::text) || '.png',
        '[{"text": "cat"}]', 1, 1, n, task.status::public.task_status,
        task.ended, task.ended, task.charged, task.manifest, task.charged
    from generate_series(1, %(count)s) as n
    inner join (
        values ('pending', null, null, null), ('done', now(), 1, 'manifest')
    ) as task (status, ended, charged, manifest) on task.status = %(status)s
"""


@pytest.fixture
def fill(operator: Any) -> Callable[..., Awaitable[None]]:
    """Put many rows of a user there at once, past the triggers but for the user queue."""

    async def write(user: Any, status: str) -> None:
        """Insert them."""
        values = {"user": user.id, "status": status, "count": MANY}
        async with operator.pool.connection() as connection, connection.transaction():
            await connection.execute("set local session_replication_role = replica")
            await connection.execute(FILL, values)
            await connection.execute(
                "insert into segmentation.user_queues"
                " (queue_class_id, user_id, virtual_start, waiting)"
                " select queue_class_id, user_id, min(virtual_start), count(*)"
                " from public.segmentation_results"
                " where status = 'pending' group by queue_class_id, user_id"
                " on conflict (queue_class_id, user_id) do update"
                " set virtual_start = excluded.virtual_start, waiting = excluded.waiting"
            )
            await connection.execute("analyze public.segmentation_results")

    return write


CLAIM = "count(*) from public.claim_tasks('w', 1)"


async def claim_after_many(owner: Any, service: Any, fill: Any) -> int:
    """What a claim reads where the user had many tasks done before."""
    await fill(owner, "done")
    await owner.submit()
    return await service.blocks(CLAIM)


@pytest.fixture
async def lone_claim(stranger: Any, service: Any) -> int:
    """What a claim reads that finds one task."""
    await stranger.submit()
    read: int = await service.blocks(CLAIM)
    await service.claim()
    return read


async def test_a_claim_does_not_look_at_what_is_done(
    busy_owner: Any, service: Any, fill: Any, lone_claim: int
) -> None:
    """Thousands of finished tasks of a user cost a claim nothing."""
    read = await claim_after_many(busy_owner, service, fill)
    assert read < lone_claim + FEW_BLOCKS


async def test_without_its_index_a_claim_would_look_at_all(
    busy_owner: Any, service: Any, fill: Any, lone_claim: int, stack: Any
) -> None:
    """Negative control: said so that no index of what waits fits, all the user had is read."""
    unfit = Mutant(
        "pick_tasks",
        "pending.status = 'pending'",
        "pending.status is not distinct from 'pending'",
    )
    with mutated(stack.db_url, unfit):
        read = await claim_after_many(busy_owner, service, fill)
    assert read > lone_claim + FEW_BLOCKS


SUBMIT = "public.submit_task('uploads/' || auth.uid() || '/a.png', '[{\"text\": \"cat\"}]')"


async def test_a_submit_does_not_look_at_all_that_waits(
    owner: Any, service: Any, fill: Any, tiers: Any
) -> None:
    """Thousands of one's own in line cost a submit nothing, though the bound is checked."""
    alone = await owner.blocks(SUBMIT)
    await fill(owner, "pending")
    assert await owner.blocks(SUBMIT) < alone + FEW_BLOCKS


async def test_a_claim_does_not_look_at_idle_classes(
    stranger: Any, service: Any, operator: Any, lone_claim: int
) -> None:
    """As many classes as there can be of a model cost a claim nothing, if nobody waits in them."""
    await operator.rows(
        "insert into segmentation.queue_classes (kind, memory_mb, pixels)"
        " select 'image', mb, pixels from generate_series(1, 54) as mb,"
        " unnest(array[0, 1, 2, 3]) as pixels"
    )
    await stranger.submit()
    assert await service.blocks(CLAIM) < lone_claim + FEW_BLOCKS


async def test_a_submit_counts_by_the_queue(
    owner: Any, service: Any, fill: Any, tiers: Any, refused: Any
) -> None:
    """Negative control: the bound is asked after all, of the number in the user queue."""
    await fill(owner, "pending")
    await tiers("free", max_waiting=MANY)
    with refused("PT429", "rate_limited"):
        await owner.submit()


@pytest.fixture
async def line(owner: Any, fill: Any, operator: Any) -> Callable[[int], Awaitable[str]]:
    """A long line of one user; the id of the task at a place, from 1."""
    await fill(owner, "pending")

    async def at(place: int) -> str:
        """Read it."""
        query = "select id::text from public.segmentation_results where virtual_start = %s"
        found: str = await operator.value(query, place)
        return found

    return at


@pytest.mark.parametrize(
    ("nth", "told"), [(1, 0), (500, 499), (1000, 999), (1001, 1000), (MANY, 1000)]
)
async def test_a_position_is_counted_to_a_thousand(
    owner: Any, line: Any, nth: int, told: int
) -> None:
    """Up to a thousand in front each one is counted; behind that it says a thousand."""
    status = await owner.call("queue_status", p_id=await line(nth))
    assert status["queue_position"] == told


async def test_a_status_does_not_look_at_the_whole_line(
    owner: Any, service: Any, line: Any
) -> None:
    """At the end of thousands it reads no more than behind one thousand."""
    status = "public.queue_status('{}')"
    near = await owner.blocks(status.format(await line(1001)))
    far = await owner.blocks(status.format(await line(MANY)))
    assert far < 1.5 * near


async def test_counted_to_the_end_it_would(owner: Any, service: Any, line: Any, stack: Any) -> None:
    """Negative control: without the limit everybody in front is looked at."""
    status = "public.queue_status('{}')"
    near = await owner.blocks(status.format(await line(1001)))
    with mutated(stack.db_url, Mutant("tasks_ahead", "integer := 1000;", "integer := 1000000;")):
        far = await owner.blocks(status.format(await line(MANY)))
    assert far > 1.5 * near
