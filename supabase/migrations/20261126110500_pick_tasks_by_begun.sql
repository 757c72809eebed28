-- pick_tasks again: what was begun in time is due after its deadline too, and begin_tasks has its writes.

create or replace function segmentation.pick_tasks(p_lanes integer[], p_limit integer)
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
