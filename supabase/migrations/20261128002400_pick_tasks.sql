-- Which pictures' turn it is. A claim walks along the users who wait, never along all their tasks, so
-- it costs the same at a thousand pending rows and at a million.

create function segmentation.with_companions(p_ids uuid[])
returns uuid[]
language sql
volatile
security invoker
set search_path = ''
as $$
    select p_ids || coalesce(array_agg(companion.id), '{}')
    from (
        select picked.source_image_url, picked.user_id, picked.lane_id, count(*) as tasks
        from public.segmentation_results as picked
        where picked.id = any(p_ids)
        group by picked.source_image_url, picked.user_id, picked.lane_id
    ) as picture
    cross join lateral (
        select results.id
        from public.segmentation_results as results
        where
            hashtextextended(results.source_image_url, 0) = hashtextextended(picture.source_image_url, 0)
            -- The key itself, for hashes may agree. Said so that no index on it can be used.
            and results.source_image_url is not distinct from picture.source_image_url
            and results.user_id = picture.user_id and results.lane_id = picture.lane_id
            and results.status = 'pending' and results.id <> all(p_ids)
            and results.run_after <= now()
            and (results.started_at is not null or coalesce(results.expires_at > now(), true))
        order by results.place, results.id
        limit greatest(0, 16 - picture.tasks)
        for update skip locked
    ) as companion;
$$;
comment on function segmentation.with_companions is
'Lock also what waits for the same pictures of the same user: one vision pass serves up to 16 tasks.';
revoke execute on function segmentation.with_companions from public;

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

create function segmentation.pick_tasks(p_lanes integer[], p_limit integer)
returns uuid[]
language plpgsql
security invoker
set search_path = ''
-- One plan for every limit and any size: front to back through the indexes.
set plan_cache_mode = 'force_generic_plan'
set enable_seqscan = 'off'
set enable_bitmapscan = 'off'
set enable_hashjoin = 'off'
set enable_mergejoin = 'off'
as $$
declare
    picked uuid[] := '{}';
    found_ids uuid[];
    -- Lane and source_image_url. A picture is in one claim once, with its sixteen.
    served text[] := '{}';
    served_users uuid[] := '{}';
    wanted integer;
    chunk integer := p_limit + 1;
    seen integer;
    bound bigint;
    to_the_end boolean := false;
    crowded boolean;
    turn record;
    -- In front of all of them.
    behind segmentation.turns := row(0, '00000000-0000-0000-0000-000000000000', '-9223372036854775808', 0)::segmentation.turns;
begin
    while cardinality(served) < p_limit loop
        wanted := p_limit - cardinality(served);
        crowded := false;
        -- The users whose turn it may be, and the next one, whose place is as far as they get.
        -- Locked by others: their user is submitting just now, and will send a hint.
        select
            array_agg(line.lane_id) as lane_ids,
            array_agg(line.user_id) as user_ids,
            array_agg(line.place) as places,
            array_agg(line.room) as rooms
        into turn
        from (
            select turns.lane_id, turns.user_id, turns.place, space.room
            from segmentation.turns
            cross join lateral (
                select case
                    when tiers.max_in_flight is null then p_limit
                    else tiers.max_in_flight - (
                        select count(distinct attempts.lead_token) from segmentation.attempts
                        where attempts.user_id = turns.user_id and attempts.ended_at is null
                    ) - (
                        select count(*) from unnest(served_users) as mine where mine = turns.user_id
                    )
                end as room
                from public.users_profile as profile
                inner join segmentation.tiers on profile.tier = tiers.tier
                where profile.id = turns.user_id
                -- A fence: else the caps are counted once to compare and once to return.
                offset 0
            ) as space
            where turns.lane_id = any(p_lanes)
                and (turns.place, turns.lane_id, turns.user_id) > (behind.place, behind.lane_id, behind.user_id)
                and space.room > 0
            order by turns.place, turns.lane_id, turns.user_id
            limit chunk
            for update of turns skip locked
        ) as line;
        seen := coalesce(cardinality(turn.user_ids), 0);
        -- Nobody goes ahead of the next one in line, unless all of them were asked and room is left:
        -- then only backoffs are in front.
        bound := case when seen = chunk and not to_the_end then turn.places[seen] else 9223372036854775807 end;

        with line as materialized (
            select due.id, due.place, due.lane_id, due.user_id
            from (
                select
                    results.id, results.place, results.lane_id, results.user_id, head.room,
                    row_number() over (partition by results.user_id order by results.place, results.id) as nth,
                    row_number() over (
                        partition by results.source_image_url, results.lane_id order by results.place, results.id
                    ) as rider
                from unnest(turn.lane_ids, turn.user_ids, turn.rooms) as head (lane_id, user_id, room)
                cross join lateral (
                    select pending.id, pending.place, pending.lane_id, pending.user_id, pending.source_image_url
                    from public.segmentation_results as pending
                    where
                        pending.user_id = head.user_id and pending.lane_id = head.lane_id
                        and pending.status = 'pending'
                        and pending.place <= bound
                        and pending.run_after <= now()
                        and (pending.started_at is not null or coalesce(pending.expires_at > now(), true))
                        and pending.lane_id || ' ' || pending.source_image_url <> all(served)
                    order by pending.place, pending.id
                    limit least(head.room, wanted)
                ) as results
            ) as due
            where due.nth <= due.room and due.rider <= 16
            order by due.place, due.lane_id, due.user_id, due.id
            limit wanted
        )
        select coalesce(array_agg(locked.id), '{}') into found_ids
        from (
            select results.id
            from line
            inner join public.segmentation_results as results on line.id = results.id
            where results.status = 'pending'
            for update of results skip locked
        ) as locked;

        if found_ids <> '{}' then
            select served || array_agg(picture.name), served_users || array_agg(picture.user_id)
            into served, served_users
            from (
                select distinct results.lane_id || ' ' || results.source_image_url as name, results.user_id
                from public.segmentation_results as results
                where results.id = any(found_ids)
            ) as picture;
            -- More tasks than pictures: riders, where somebody else's picture could have been.
            crowded := cardinality(found_ids) > wanted - (p_limit - cardinality(served));
            found_ids := segmentation.begin_tasks(found_ids);
            picked := picked || found_ids;
        end if;
        perform segmentation.pass_turns(turn.lane_ids, turn.user_ids, found_ids);
        -- The served pictures are out of the way now, and with them their riders.
        continue when crowded;
        if seen = chunk then
            -- The last one again: it was only the bound.
            behind := row(turn.lane_ids[seen - 1], turn.user_ids[seen - 1], turn.places[seen - 1], 0);
            chunk := least(2 * chunk, 200);
        else
            exit when to_the_end or seen = 0;
            to_the_end := true;
            behind := row(0, '00000000-0000-0000-0000-000000000000', '-9223372036854775808', 0)::segmentation.turns;
        end if;
    end loop;
    return picked;
end;
$$;
comment on function segmentation.pick_tasks is
'Make the tasks whose turn it is processing, as many pictures as asked for; their ids.';
revoke execute on function segmentation.pick_tasks from public;
