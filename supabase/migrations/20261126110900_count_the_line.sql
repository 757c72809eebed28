-- How many stand in front of a task: only those whom its own machines serve, exactly up to a thousand,
-- and from there on estimated, so that asking costs the same behind a thousand as behind a million.

drop function segmentation.tasks_ahead;
drop function segmentation.eta_seconds;

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
