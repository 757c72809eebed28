-- Where a pending task stands, and when it will be done: at a bounded cost, however many wait.

create function segmentation.lanes_beside(p_lane segmentation.lanes)
returns integer[]
language sql
stable
security invoker
set search_path = ''
as $$
    with able as materialized (
        select distinct workers.capabilities from segmentation.workers
        where
            workers.last_seen_at > now() - interval '2 minutes'
            and segmentation.is_online(workers) and segmentation.can_do(workers.capabilities, p_lane)
    )
    select coalesce(array_agg(lane.id), '{}') from segmentation.lanes_in_use() as lane
    where
        lane.kind = p_lane.kind
        and (
            exists (select 1 from able where segmentation.can_do(able.capabilities, lane))
            -- Nobody is there yet; then it may be anybody.
            or not exists (select 1 from able)
        );
$$;
comment on function segmentation.lanes_beside is
'The lanes in use that those online who serve a lane serve too, itself among them.';
revoke execute on function segmentation.lanes_beside from public;

create function segmentation.tasks_ahead(
    p_task public.segmentation_results, p_lanes integer[], p_user_id uuid default null
)
returns bigint
language plpgsql
stable
security invoker
set search_path = ''
-- Front to back through the indexes, and no further than the limits; of one user through theirs.
set plan_cache_mode = 'force_custom_plan'
set enable_seqscan = 'off'
set enable_bitmapscan = 'off'
set enable_hashjoin = 'off'
set enable_mergejoin = 'off'
as $$
declare
    ahead bigint;
    lines bigint;
    sample record;
begin
    select count(*) into ahead from (
        select 1
        from segmentation.turns
        inner join public.segmentation_results as other
            on turns.user_id = other.user_id and turns.lane_id = other.lane_id
        where
            turns.lane_id = any(p_lanes) and turns.place <= p_task.place
            and turns.user_id = coalesce(p_user_id, turns.user_id)
            and other.status = 'pending'
            and (other.place, other.id) < (p_task.place, p_task.id)
        limit 1001
    ) as line;
    if ahead <= 1000 then
        return ahead;
    end if;
    select count(*) into lines from (
        select 1 from segmentation.turns
        where
            turns.lane_id = any(p_lanes) and turns.place <= p_task.place
            and turns.user_id = coalesce(p_user_id, turns.user_id)
        limit 10000
    ) as line;
    -- Of each line the part in front, as if its places were even; of a hundred lines, for the rest.
    select count(*) as lines, sum(first.waiting * least(
        1, (p_task.place - first.place + 1) / (greatest(last.place - first.place, 0) + 1.0)
    )) as tasks
    into sample
    from (
        select turns.lane_id, turns.user_id, turns.place, turns.waiting
        from segmentation.turns
        where
            turns.lane_id = any(p_lanes) and turns.place <= p_task.place
            and turns.user_id = coalesce(p_user_id, turns.user_id)
        order by turns.place, turns.lane_id, turns.user_id
        limit 100
    ) as first
    cross join lateral (
        select results.place from public.segmentation_results as results
        where
            results.user_id = first.user_id and results.lane_id = first.lane_id and results.status = 'pending'
        order by results.place desc, results.id desc
        limit 1
    ) as last;
    return greatest(1001, (sample.tasks * lines / sample.lines)::bigint);
end;
$$;
comment on function segmentation.tasks_ahead is
'Pending tasks in front of a task in some lanes, of one user or of all: exact up to 1,000, then estimated.';
revoke execute on function segmentation.tasks_ahead from public;

create function segmentation.wait_for_slot(
    p_slots bigint, p_ahead bigint, p_worked double precision[], p_seconds double precision
)
returns double precision
language sql
immutable
security invoker
set search_path = ''
as $$
    with hand as (
        -- More in hand than slots: the latest of them wait in front, too.
        select array_agg(greatest(0, p_seconds - work.worked) order by work.worked desc) as remaining
        from (
            select worked from unnest(p_worked) as worked order by worked desc limit p_slots
        ) as work
    ),
    line as (
        select
            p_ahead + greatest(0, cardinality(p_worked) - p_slots) as ahead,
            greatest(0, p_slots - cardinality(p_worked)) as free
    )
    -- The n-th in line takes the n-th slot that comes free, and after a round they are all used again.
    select
        line.ahead / p_slots * p_seconds
        + case
            when line.ahead % p_slots < line.free then 0
            else hand.remaining[line.ahead % p_slots - line.free + 1]
        end
    from line cross join hand;
$$;
comment on function segmentation.wait_for_slot is
'Seconds until one of some slots is free, by how long each picture in hand has been worked on and how long one takes.';
revoke execute on function segmentation.wait_for_slot from public;

create function segmentation.eta_seconds(
    p_task public.segmentation_results, p_lane segmentation.lanes, p_ahead bigint
)
returns integer
language plpgsql
stable
security invoker
set search_path = ''
as $$
declare
    slots bigint;
    own_slots integer;
    own_lanes integer[];
    worked double precision[];
    own_worked double precision[];
    seconds double precision;
    wait double precision;
begin
    select sum(coalesce((workers.capabilities ->> 'slots')::numeric, 1))::bigint into slots
    from segmentation.workers
    where segmentation.is_online(workers) and segmentation.can_do(workers.capabilities, p_lane);
    select avg(extract(epoch from recent.ended_at - recent.claimed_at)) into seconds
    from (
        select latest.claimed_at, latest.ended_at
        from (
            select attempts.result_id, attempts.claimed_at, attempts.ended_at
            from segmentation.attempts
            where attempts.outcome = 'done'
            order by attempts.ended_at desc
            limit 1000
        ) as latest
        inner join public.segmentation_results as task on latest.result_id = task.id
        where task.kind = p_task.kind
        order by latest.ended_at desc
        limit 50
    ) as recent;
    if slots is null or seconds is null then
        return null;
    end if;
    -- By picture, for riders share a slot.
    worked := array(
        select extract(epoch from now() - min(attempts.claimed_at))
        from segmentation.attempts
        inner join segmentation.workers
            on attempts.worker = workers.worker and attempts.machine_id is not distinct from workers.machine_id
        where
            attempts.ended_at is null
            and segmentation.is_online(workers) and segmentation.can_do(workers.capabilities, p_lane)
        group by attempts.lead_token
    );
    wait := segmentation.wait_for_slot(slots, p_ahead, worked, seconds);
    -- A user's own tasks go no faster than their tier lets them.
    own_slots := (segmentation.tier_of(p_task.user_id)).max_in_flight;
    if own_slots is not null then
        own_worked := array(
            select extract(epoch from now() - min(attempts.claimed_at)) from segmentation.attempts
            where attempts.user_id = p_task.user_id and attempts.ended_at is null
            group by attempts.lead_token
        );
        own_lanes := array(
            select lanes.id
            from segmentation.turns
            inner join segmentation.lanes on turns.lane_id = lanes.id
            where
                turns.user_id = p_task.user_id and lanes.kind = p_task.kind
                -- What nobody can do takes no room.
                and not segmentation.is_blocked(lanes)
        );
        wait := greatest(wait, segmentation.wait_for_slot(
            own_slots, segmentation.tasks_ahead(p_task, own_lanes, p_task.user_id), own_worked, seconds
        ));
    end if;
    -- The line moves on while a backoff lasts.
    return ceil(seconds + greatest(wait, extract(epoch from p_task.run_after - now())));
end;
$$;
comment on function segmentation.eta_seconds is
'Seconds until a pending task ends: line and work in hand, by the mean of 50 attempts, over the slots online; or null.';
revoke execute on function segmentation.eta_seconds from public;

create function segmentation.task_outlook(p_id uuid)
returns jsonb
language plpgsql
stable
security definer
set search_path = ''
as $$
declare
    task public.segmentation_results;
    lane segmentation.lanes;
    ahead bigint;
begin
    select * into task from public.segmentation_results as results
    where results.id = p_id and results.user_id = auth.uid() and results.status = 'pending';
    if not found then
        return jsonb_build_object('queue_position', null, 'eta_seconds', null);
    end if;
    select * into lane from segmentation.lanes where lanes.id = task.lane_id;
    ahead := segmentation.tasks_ahead(task, segmentation.lanes_beside(lane));
    return jsonb_build_object(
        'queue_position', least(ahead, 10000),
        'eta_seconds', segmentation.eta_seconds(task, lane, ahead)
    );
end;
$$;
comment on function segmentation.task_outlook is 'See public.task_outlook.';
revoke execute on function segmentation.task_outlook from public;
grant execute on function segmentation.task_outlook to authenticated;

create function public.task_outlook(p_id uuid)
returns jsonb
language sql
stable
security invoker
set search_path = ''
as $$
    select segmentation.task_outlook(p_id);
$$;
comment on function public.task_outlook is
'{"queue_position", "eta_seconds"} of the caller''s pending task; nulls: not pending, not theirs, or nobody can tell.';
revoke execute on function public.task_outlook from public, anon, authenticated, service_role;
grant execute on function public.task_outlook to authenticated;
