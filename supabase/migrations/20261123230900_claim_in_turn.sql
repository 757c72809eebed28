-- claim_tasks: open attempts at the pictures whose turn it is.
--
-- Claims take turns (an advisory lock, for a millisecond or two), so that the caps hold exactly and
-- nobody is passed over because another claim looks at their row. A claim walks along the users who
-- wait, never along all their tasks, so it costs the same at a thousand pending rows and a million.

create function segmentation.note_worker(p_worker text, p_machine_id uuid, p_capabilities jsonb)
returns void
language plpgsql
security invoker
set search_path = ''
as $$
declare
    known segmentation.workers;
begin
    select * into known from segmentation.workers
    where workers.machine_id is not distinct from p_machine_id and workers.worker = p_worker;
    if known.capabilities = p_capabilities and known.last_seen_at > now() - interval '10 seconds' then
        return;
    end if;
    insert into segmentation.workers (machine_id, worker, capabilities)
    values (p_machine_id, p_worker, p_capabilities)
    on conflict (machine_id, worker) do update
    set capabilities = excluded.capabilities, last_seen_at = now();
    if known.capabilities is distinct from p_capabilities or not segmentation.is_online(known) then
        -- Somebody new: what was blocked may not be any more.
        perform segmentation.mark_blocked();
    end if;
end;
$$;
comment on function segmentation.note_worker is 'Take note of who is online, and of what they can do.';
revoke execute on function segmentation.note_worker from public;

create function segmentation.mark_blocked()
returns void
language plpgsql
security invoker
set search_path = ''
as $$
declare
    lane segmentation.lanes;
    marked integer;
begin
    update segmentation.lanes
    set blocked = not lanes.blocked, unmarked = true
    where lanes.id in (
        select looked_at.id from segmentation.lanes as looked_at
        where looked_at.blocked <> segmentation.is_blocked(looked_at)
        order by looked_at.id
        for update skip locked
    );
    for lane in select * from segmentation.lanes where lanes.unmarked order by lanes.id for update skip locked
    loop
        update public.segmentation_results as results
        set blocked_by = case when lane.blocked then 'no_capable_worker' end
        where results.id in (
            select pending.id from public.segmentation_results as pending
            where
                pending.lane_id = lane.id and pending.status = 'pending'
                and (pending.blocked_by is not null) <> lane.blocked
            limit 1000
            for update skip locked
        );
        get diagnostics marked = row_count;
        -- The rest at the next call: each changed row is a message to its owner.
        update segmentation.lanes set unmarked = marked = 1000 where lanes.id = lane.id;
    end loop;
end;
$$;
comment on function segmentation.mark_blocked is
'Let pending tasks say whether anybody online can do them; a thousand of a lane at a time.';
revoke execute on function segmentation.mark_blocked from public;

create function segmentation.due_tasks(p_turn segmentation.turns, p_up_to bigint, p_limit integer)
returns uuid[]
language sql
volatile
security invoker
set search_path = ''
as $$
    select coalesce(array_agg(due.id), '{}') from (
        select results.id
        from public.segmentation_results as results
        where
            results.user_id = p_turn.user_id and results.lane_id = p_turn.lane_id
            and results.status = 'pending' and results.place <= p_up_to
            and results.run_after <= now() and coalesce(results.expires_at > now(), true)
        order by results.place, results.id
        limit p_limit
        for update skip locked
    ) as due;
$$;
comment on function segmentation.due_tasks is 'Lock the first tasks in line that are due, up to a place.';
revoke execute on function segmentation.due_tasks from public;

create function segmentation.with_companions(p_turn segmentation.turns, p_ids uuid[])
returns uuid[]
language sql
volatile
security invoker
set search_path = ''
as $$
    select p_ids || coalesce(array_agg(companion.id), '{}')
    from (
        select picked.source_image_url, count(*) as tasks
        from public.segmentation_results as picked
        where picked.id = any(p_ids)
        group by picked.source_image_url
    ) as picture
    cross join lateral (
        select results.id
        from public.segmentation_results as results
        where
            results.source_image_url = picture.source_image_url
            and results.user_id = p_turn.user_id and results.lane_id = p_turn.lane_id
            and results.status = 'pending' and results.id <> all(p_ids)
            and results.run_after <= now() and coalesce(results.expires_at > now(), true)
        order by results.place, results.id
        limit greatest(0, 16 - picture.tasks)
        for update skip locked
    ) as companion;
$$;
comment on function segmentation.with_companions is
'Lock also what waits for the same pictures of the same user: one vision pass serves up to 16 tasks.';
revoke execute on function segmentation.with_companions from public;

create function segmentation.pass_turn(p_turn segmentation.turns)
returns void
language plpgsql
security invoker
set search_path = ''
as $$
declare
    next_place bigint;
begin
    select results.place into next_place
    from public.segmentation_results as results
    where
        results.user_id = p_turn.user_id and results.lane_id = p_turn.lane_id and results.status = 'pending'
    order by results.place
    limit 1;
    if next_place is null then
        delete from segmentation.turns where lane_id = p_turn.lane_id and user_id = p_turn.user_id;
    elsif next_place <> p_turn.place then
        update segmentation.turns set place = next_place
        where lane_id = p_turn.lane_id and user_id = p_turn.user_id;
    end if;
end;
$$;
comment on function segmentation.pass_turn is 'Move a locked turn to what waits next, or remove it.';
revoke execute on function segmentation.pass_turn from public;

create function segmentation.pick_tasks(p_lanes integer[], p_limit integer)
returns uuid[]
language plpgsql
security invoker
set search_path = ''
-- Each statement below has one right plan: along its index. To plan it anew for each user takes half
-- of the time; and a plan made while the tables were empty must still be right when they are full.
set plan_cache_mode = 'force_generic_plan'
set enable_seqscan = 'off'
set enable_bitmapscan = 'off'
as $$
declare
    picked uuid[] := '{}';
    found_ids uuid[];
    pictures integer := 0;
    new_pictures integer;
    last_place bigint;
    kind text;
    room integer;
    rival bigint;
    tier segmentation.tiers;
    turn segmentation.turns;
    -- In front of all of them.
    behind segmentation.turns := row(0, '00000000-0000-0000-0000-000000000000', '-9223372036854775808')::segmentation.turns;
begin
    while pictures < p_limit loop
        -- Locked by others: their user is submitting just now, and will send a hint.
        select * into turn from segmentation.turns
        where turns.lane_id = any(p_lanes)
            and (turns.place, turns.lane_id, turns.user_id) > (behind.place, behind.lane_id, behind.user_id)
        order by turns.place, turns.lane_id, turns.user_id
        limit 1
        for update skip locked;
        exit when not found;
        behind := turn;
        room := p_limit - pictures;
        tier := segmentation.tier_of(turn.user_id);
        if tier.max_in_flight is not null then
            room := least(room, tier.max_in_flight - (
                select count(distinct attempts.lead_token) from segmentation.attempts
                where attempts.user_id = turn.user_id and attempts.ended_at is null
            ) - (
                select count(distinct mine.source_image_url) from public.segmentation_results as mine
                where mine.id = any(picked) and mine.user_id = turn.user_id
            ));
            continue when room <= 0;
        end if;
        select turns.place into rival from segmentation.turns
        where turns.lane_id = any(p_lanes)
            and (turns.place, turns.lane_id, turns.user_id) > (turn.place, turn.lane_id, turn.user_id)
        order by turns.place, turns.lane_id, turns.user_id
        limit 1;
        found_ids := segmentation.due_tasks(turn, coalesce(rival, 9223372036854775807), room);
        if found_ids <> '{}' then
            select count(distinct results.source_image_url), max(results.place), max(results.kind)
            into new_pictures, last_place, kind
            from public.segmentation_results as results
            where results.id = any(found_ids);
            pictures := pictures + new_pictures;
            perform segmentation.advance_virtual_time(kind, last_place + tier.head_start * 1000::bigint);
            found_ids := segmentation.with_companions(turn, found_ids);
            -- Not pending any more, so that nothing below counts them again.
            update public.segmentation_results as task
            set
                status = 'processing',
                progress = 0,
                computed = 0,
                blocked_by = null,
                attempt_count = task.attempt_count + 1,
                started_at = coalesce(task.started_at, now())
            where task.id = any(found_ids);
            picked := picked || found_ids;
        end if;
        perform segmentation.pass_turn(turn);
    end loop;
    return picked;
end;
$$;
comment on function segmentation.pick_tasks is
'Make the tasks whose turn it is processing, as many pictures as asked for; their ids.';
revoke execute on function segmentation.pick_tasks from public;
