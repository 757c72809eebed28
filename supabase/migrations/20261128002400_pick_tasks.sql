-- Which tasks' turn it is. A claim walks along the users who wait, never along all their tasks, so
-- it costs the same at a thousand pending rows and at a million.

create function segmentation.begin_tasks(p_ids uuid[])
returns void
language plpgsql
security invoker
set search_path = ''
as $$
begin
    perform segmentation.advance_virtual_time(latest.kind, latest.start)
    from (
        select results.kind, max(results.virtual_start + tiers.head_start * 1000::bigint) as start
        from public.segmentation_results as results
        inner join public.users_profile as profile on results.user_id = profile.id
        inner join segmentation.tiers on profile.tier = tiers.tier
        where results.id = any(p_ids)
        group by results.kind
    ) as latest;
    -- A retry was charged at its first claim.
    update segmentation.fair_clocks as clock
    set finish = greatest(clock.finish, claimed.start) + claimed.cost
    from (
        select
            results.user_id, results.kind,
            min(results.virtual_start + tiers.head_start * 1000::bigint) as start,
            sum(segmentation.virtual_cost(results.cost, tiers))::bigint as cost
        from public.segmentation_results as results
        inner join public.users_profile as profile on results.user_id = profile.id
        inner join segmentation.tiers on profile.tier = tiers.tier
        where results.id = any(p_ids) and results.started_at is null
        group by results.user_id, results.kind
    ) as claimed
    where
        clock.user_id = claimed.user_id and clock.kind = claimed.kind
        -- Locked only while its user is being deleted, and that waits for the tasks we hold.
        and exists (
            select 1 from segmentation.fair_clocks as free
            where free.user_id = claimed.user_id and free.kind = claimed.kind
            for no key update skip locked
        );
    -- Not pending any more, so that the claim's next look does not find them again.
    update public.segmentation_results as task
    set
        status = 'processing',
        progress = 0,
        computed = 0,
        attempt_count = task.attempt_count + 1,
        started_at = coalesce(task.started_at, now())
    where task.id = any(p_ids);
end;
$$;
comment on function segmentation.begin_tasks is
'Put locked tasks into work, and move the clocks of their users and kinds.';
revoke execute on function segmentation.begin_tasks from public;

create function segmentation.advance_user_queues(p_classes integer[], p_users uuid[], p_begun uuid[])
returns void
language plpgsql
security invoker
set search_path = ''
as $$
begin
    with begun as materialized (
        select results.queue_class_id, results.user_id, count(*)::integer as tasks
        from public.segmentation_results as results
        where results.id = any(p_begun)
        group by results.queue_class_id, results.user_id
    ),
    head as materialized (
        select queue.queue_class_id, queue.user_id, queue.virtual_start, coalesce(begun.tasks, 0) as begun, (
            select results.virtual_start
            from public.segmentation_results as results
            where
                results.user_id = queue.user_id and results.queue_class_id = queue.queue_class_id
                and results.status = 'pending'
            order by results.virtual_start
            limit 1
        ) as next_start
        from unnest(p_classes, p_users) as seen (queue_class_id, user_id)
        inner join segmentation.user_queues as queue
            on seen.queue_class_id = queue.queue_class_id and seen.user_id = queue.user_id
        left join begun on queue.queue_class_id = begun.queue_class_id and queue.user_id = begun.user_id
    ),
    moved as (
        update segmentation.user_queues as queue
        set virtual_start = head.next_start, waiting = greatest(0, queue.waiting - head.begun)
        from head
        where
            queue.queue_class_id = head.queue_class_id and queue.user_id = head.user_id
            and (head.next_start <> head.virtual_start or head.begun > 0 and head.next_start is not null)
    )
    delete from segmentation.user_queues as queue using head
    where
        queue.queue_class_id = head.queue_class_id and queue.user_id = head.user_id and head.next_start is null;
end;
$$;
comment on function segmentation.advance_user_queues is
'Move locked user queues to what waits next, less what was begun, or remove them.';
revoke execute on function segmentation.advance_user_queues from public;

create function segmentation.pick_tasks(p_classes integer[], p_limit integer)
returns uuid[]
language plpgsql
security invoker
set search_path = ''
-- Planned for the rows of now: a plan that was made for a few would read all that waits.
set plan_cache_mode = 'force_custom_plan'
as $$
declare
    picked uuid[] := '{}';
    picked_users uuid[] := '{}';
    wanted integer;
    -- One queue more than tasks are wanted: its virtual start is as far as the others may go.
    chunk integer := p_limit + 1;
    heads record;
    bound bigint;
    found_ids uuid[];
    found_users uuid[];
begin
    loop
        wanted := p_limit - cardinality(picked);
        -- Locked by others: their user is submitting just now, and will send a hint.
        select
            coalesce(array_agg(head.queue_class_id), '{}') as classes,
            array_agg(head.user_id) as users,
            array_agg(head.room) as rooms,
            max(head.virtual_start) as last_start
        into heads
        from (
            select queue.queue_class_id, queue.user_id, queue.virtual_start, space.room
            from segmentation.user_queues as queue
            cross join lateral (
                select case
                    when tiers.max_in_flight is null then p_limit
                    else tiers.max_in_flight - (
                        select count(*) from segmentation.attempts
                        where attempts.user_id = queue.user_id and attempts.ended_at is null
                    ) - (
                        select count(*) from unnest(picked_users) as mine where mine = queue.user_id
                    )
                end as room
                from public.users_profile as profile
                inner join segmentation.tiers on profile.tier = tiers.tier
                where profile.id = queue.user_id
                -- A fence: else the attempts are counted once to compare and once to return.
                offset 0
            ) as space
            where queue.queue_class_id = any(p_classes) and space.room > 0
            order by queue.virtual_start, queue.queue_class_id, queue.user_id
            limit chunk
            for update of queue skip locked
        ) as head;
        -- Without a next queue nothing else is in front.
        bound := case when cardinality(heads.classes) = chunk then heads.last_start else 9223372036854775807 end;

        with candidate as materialized (
            select due.id
            from (
                select
                    task.id, task.virtual_start, head.room,
                    row_number() over (partition by head.user_id order by task.virtual_start, task.id) as nth
                from unnest(heads.classes, heads.users, heads.rooms) as head (queue_class_id, user_id, room)
                cross join lateral (
                    select pending.id, pending.virtual_start
                    from public.segmentation_results as pending
                    where
                        pending.user_id = head.user_id and pending.queue_class_id = head.queue_class_id
                        and pending.status = 'pending'
                        and pending.virtual_start <= bound
                        and pending.run_after <= now()
                        and (pending.started_at is not null or coalesce(pending.expires_at > now(), true))
                    order by pending.virtual_start, pending.id
                    limit least(head.room, wanted)
                ) as task
            ) as due
            where due.nth <= due.room
            order by due.virtual_start, due.id
            limit wanted
        )
        select coalesce(array_agg(locked.id), '{}'), array_agg(locked.user_id)
        into found_ids, found_users
        from (
            select results.id, results.user_id
            from candidate
            inner join public.segmentation_results as results on candidate.id = results.id
            where results.status = 'pending'
            for update of results skip locked
        ) as locked;

        if found_ids <> '{}' then
            perform segmentation.begin_tasks(found_ids);
            picked := picked || found_ids;
            picked_users := picked_users || found_users;
        end if;
        perform segmentation.advance_user_queues(heads.classes, heads.users, found_ids);
        exit when cardinality(picked) = p_limit or cardinality(heads.classes) < chunk;
        -- Too little was due in front, because of backoffs: look further.
        chunk := chunk * 4;
    end loop;
    return picked;
end;
$$;
comment on function segmentation.pick_tasks is
'Lock and begin the next due tasks of these classes, in fair order, as many of each user as their tier allows.';
revoke execute on function segmentation.pick_tasks from public;
