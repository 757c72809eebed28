-- What a claim writes of the tasks it takes: the clocks, the rows, the turns.

-- Its columns move at every claim.
alter table segmentation.fair_clocks set (fillfactor = 50, autovacuum_vacuum_scale_factor = 0.01);

create function segmentation.begin_tasks(p_ids uuid[])
returns uuid[]
language plpgsql
security invoker
set search_path = ''
as $$
declare
    begun uuid[];
begin
    perform segmentation.advance_virtual_time(ahead.kind, ahead.start)
    from (
        select results.kind, max(results.place + tiers.head_start * 1000::bigint) as start
        from public.segmentation_results as results
        inner join public.users_profile as profile on results.user_id = profile.id
        inner join segmentation.tiers on profile.tier = tiers.tier
        where results.id = any(p_ids)
        group by results.kind
    ) as ahead;
    begun := segmentation.with_companions(p_ids);
    -- A retry was charged at its first claim. Companions come from behind in the line, so what was
    -- claimed is added up, and not read from the last place.
    update segmentation.fair_clocks as clock
    set finish = greatest(clock.finish, taken.start) + taken.steps
    from (
        select
            results.user_id, results.kind,
            min(results.place + tiers.head_start * 1000::bigint) as start,
            sum(segmentation.step_of(results.cost, tiers))::bigint as steps
        from public.segmentation_results as results
        inner join public.users_profile as profile on results.user_id = profile.id
        inner join segmentation.tiers on profile.tier = tiers.tier
        where results.id = any(begun) and results.started_at is null
        group by results.user_id, results.kind
    ) as taken
    where
        clock.user_id = taken.user_id and clock.kind = taken.kind
        -- Locked only while its user is being deleted, and that waits for the tasks we hold.
        and exists (
            select 1 from segmentation.fair_clocks as free
            where free.user_id = taken.user_id and free.kind = taken.kind
            for no key update skip locked
        );
    -- Not pending any more, so that the claim's next look does not count them again.
    update public.segmentation_results as task
    set
        status = 'processing',
        progress = 0,
        computed = 0,
        blocked_by = null,
        attempt_count = task.attempt_count + 1,
        started_at = coalesce(task.started_at, now())
    where task.id = any(begun);
    return begun;
end;
$$;
comment on function segmentation.begin_tasks is
'Put locked tasks, and what waits for the same pictures, into work; the ids of all of them.';
revoke execute on function segmentation.begin_tasks from public;

drop function segmentation.pass_turns;
create function segmentation.pass_turns(p_lanes integer[], p_users uuid[], p_begun uuid[])
returns void
language plpgsql
security invoker
set search_path = ''
as $$
begin
    with begun as materialized (
        select results.lane_id, results.user_id, count(*)::integer as tasks
        from public.segmentation_results as results
        where results.id = any(p_begun)
        group by results.lane_id, results.user_id
    ),
    line as materialized (
        select turns.lane_id, turns.user_id, turns.place, coalesce(begun.tasks, 0) as begun, (
            select results.place
            from public.segmentation_results as results
            where
                results.user_id = turns.user_id and results.lane_id = turns.lane_id
                and results.status = 'pending'
            order by results.place
            limit 1
        ) as next_place
        from unnest(p_lanes, p_users) as passed (lane_id, user_id)
        inner join segmentation.turns on passed.lane_id = turns.lane_id and passed.user_id = turns.user_id
        left join begun on turns.lane_id = begun.lane_id and turns.user_id = begun.user_id
    ),
    moved as (
        update segmentation.turns
        set place = line.next_place, waiting = greatest(0, turns.waiting - line.begun)
        from line
        where
            turns.lane_id = line.lane_id and turns.user_id = line.user_id
            and (line.next_place <> line.place or line.begun > 0 and line.next_place is not null)
    )
    delete from segmentation.turns using line
    where
        turns.lane_id = line.lane_id and turns.user_id = line.user_id and line.next_place is null;
end;
$$;
comment on function segmentation.pass_turns is
'Move locked turns to what waits next, less what was begun, or remove them.';
revoke execute on function segmentation.pass_turns from public;
