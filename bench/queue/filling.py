"""
Pending rows by the hundred thousand, as the triggers would have left them.

Row by row through `submit_task`, a million rows would take an hour. So the triggers are off, and
what they would write (queue class, virtual start, user queues, fair clocks, holds) is written here.
"""

import uuid
from dataclasses import dataclass

from bench.queue.server import Connection


@dataclass(frozen=True, slots=True, kw_only=True)
class Crowd:
    """Some users of one tier."""

    ids: tuple[str, ...]
    tier: str


async def crowd(db: Connection, *, users: int, tier: str) -> Crowd:
    """Make *users* users of *tier*."""
    ids = tuple(str(uuid.uuid4()) for _ in range(users))
    await db.execute(
        "insert into auth.users (id, aud, role, created_at, updated_at)"
        " select id, 'authenticated', 'authenticated', now(), now() from unnest(%s::uuid[]) as id",
        [list(ids)],
    )
    await db.execute(
        "update public.users_profile set tier = %s::public.user_tier, credits = 1000000"
        " where id = any(%s::uuid[])",
        [tier, list(ids)],
    )
    return Crowd(ids=ids, tier=tier)


PENDING = """
    with owner as (
        select u.id, u.number, 1000 / t.weight as step,
            t.head_start * 1000::bigint as ahead,
            -- Behind what was claimed, and behind what still waits.
            greatest(clock.finish, 0, (
                select waiting.virtual_start + t.head_start * 1000::bigint + 1000 / t.weight
                from public.segmentation_results as waiting
                where waiting.user_id = u.id and waiting.queue_class_id = class.id
                    and waiting.status = 'pending'
                order by waiting.virtual_start desc
                limit 1
            )) as finish,
            class.id as queue_class_id
        from unnest(%(ids)s::uuid[]) with ordinality as u (id, number)
        inner join segmentation.tiers as t on t.tier = %(tier)s::public.user_tier
        inner join segmentation.queue_classes as class
            on class.kind = 'image' and class.memory_mb = 0 and class.pixels = 0
            and class.model_revision is null and class.dtype is null
        left join segmentation.fair_clocks as clock on clock.user_id = u.id and clock.kind = 'image'
    ),
    added as (
        insert into public.segmentation_results (
            user_id, source_image_url, text_prompt, prompts, cost, queue_class_id, virtual_start
        )
        select
            owner.id,
            'uploads/' || owner.id || '/' || md5(random()::text || n) || '.jpg',
            'cat', '[{"id": "p0", "text": "cat"}]', 1,
            owner.queue_class_id,
            owner.finish + n / cardinality(%(ids)s::uuid[]) * owner.step - owner.ahead
        from generate_series(0, %(count)s - 1) as n
        inner join owner on owner.number = 1 + n %% cardinality(%(ids)s::uuid[])
        returning id, user_id, queue_class_id, virtual_start
    ),
    clocks as (
        insert into segmentation.fair_clocks (user_id, kind, finish)
        select id, 'image', 0 from owner
        on conflict (user_id, kind) do nothing
    ),
    holds as (
        insert into public.usage_logs (user_id, action, credits_used, result_id)
        select user_id, 'hold', 1, id from added where %(holds)s
    )
    insert into segmentation.user_queues as queue (queue_class_id, user_id, virtual_start, waiting)
    select queue_class_id, user_id, min(virtual_start), count(*) from added
    group by queue_class_id, user_id
    on conflict (queue_class_id, user_id) do update
    set
        virtual_start = least(queue.virtual_start, excluded.virtual_start),
        waiting = queue.waiting + excluded.waiting
"""

DONE = """
    insert into public.segmentation_results (
        user_id, source_image_url, prompts, cost, queue_class_id, virtual_start, status,
        attempt_count, started_at, finished_at, charged, manifest_url, instance_count
    )
    select
        user_id, source_image_url, prompts, cost, queue_class_id, virtual_start, 'done', 1,
        now(), now(), cost, 'm', 1
    from public.segmentation_results, generate_series(1, %(times)s)
    where status = 'pending'
"""

AGAIN = """
    with added as (
        insert into public.segmentation_results (
            user_id, source_image_url, prompts, cost, queue_class_id, virtual_start
        )
        select user_id, source_image_url, prompts, cost, queue_class_id, (
            select max(last.virtual_start) from public.segmentation_results as last
            where last.user_id = task.user_id and last.queue_class_id = task.queue_class_id
                and last.status = 'pending'
        ) + row_number() over (order by virtual_start)
        from public.segmentation_results as task
        where id = any(%(ids)s::uuid[])
        returning user_id, queue_class_id, virtual_start
    )
    insert into segmentation.user_queues as queue (queue_class_id, user_id, virtual_start, waiting)
    select queue_class_id, user_id, min(virtual_start), count(*) from added
    group by queue_class_id, user_id
    on conflict (queue_class_id, user_id) do update
    set
        virtual_start = least(queue.virtual_start, excluded.virtual_start),
        waiting = queue.waiting + excluded.waiting
"""

IN_WORK = """
    with busy as (
        insert into public.segmentation_results (
            user_id, source_image_url, prompts, cost, queue_class_id, virtual_start,
            status, attempt_count, started_at
        )
        select
            owner, 'uploads/' || owner || '/' || md5(random()::text || n) || '.jpg',
            '[{"text": "cat"}]', 1,
            (select min(id) from segmentation.queue_classes where kind = 'image'), 0, 'processing',
            1, now()
        from unnest(%(ids)s::uuid[]) as owner, generate_series(1, %(count)s) as n
        returning id, user_id
    ),
    numbered as (select busy.*, nextval('segmentation.tokens') as token from busy)
    insert into segmentation.attempts (
        token, result_id, user_id, worker, lease_expires_at, deadline_at
    )
    select token, id, user_id, 'elsewhere',
        now() + interval '1 day', now() + interval '1 day'
    from numbered
"""


async def queue(db: Connection, who: Crowd, count: int, *, holds: bool = False) -> None:
    """Let *count* tasks of *who* wait, one user after the other; *holds* writes the ledger too."""
    values = {"ids": list(who.ids), "tier": who.tier, "count": count, "holds": holds}
    await db.execute("set session_replication_role = replica")
    await db.execute(PENDING, values)
    await db.execute("set session_replication_role = origin")


async def finish_before(db: Connection, times: int) -> None:
    """Let what waits have been done *times* before, on the same pictures."""
    await db.execute("set session_replication_role = replica")
    await db.execute(DONE, {"times": times})
    await db.execute("set session_replication_role = origin")


async def queue_again(db: Connection, ids: list[str]) -> None:
    """Let tasks on the same pictures as *ids* wait, behind all others."""
    await db.execute("set session_replication_role = replica")
    await db.execute(AGAIN, {"ids": ids})
    await db.execute("set session_replication_role = origin")


async def keep_busy(db: Connection, who: Crowd) -> None:
    """Let each of *who* have as many tasks in work as their tier allows."""
    row = await (
        await db.execute(
            "select max_in_flight from segmentation.tiers where tier = %s::public.user_tier",
            [who.tier],
        )
    ).fetchone()
    assert row is not None
    await db.execute("set session_replication_role = replica")
    await db.execute(IN_WORK, {"ids": list(who.ids), "count": row[0]})
    await db.execute("set session_replication_role = origin")


async def settle_down(db: Connection) -> None:
    """Leave no vacuum, no missing statistics and no dirty pages to the measurement."""
    await db.execute("vacuum analyze")
    await db.execute("checkpoint")
