-- Lanes that nobody waits in, and from which nothing is in work, go with the hourly pruning.

-- A final task never waits again: it may name a lane that is gone. To look through all tasks for
-- each lane, or to index all of them by lane, would cost more than it is worth. What waits has a
-- turn, and turns do refer to lanes.
alter table public.segmentation_results drop constraint segmentation_results_waits_in_a_lane;
comment on column public.segmentation_results.lane_id is
'Where it waits, or waited: its needs, and the memory that it turned out to need.';

create function segmentation.prune_lanes()
returns integer
language plpgsql
security invoker
set search_path = ''
as $$
declare
    idle integer[];
    pruned integer;
begin
    -- Locked first and looked at again: whoever joins a lane holds it until their turn is there.
    idle := array(
        select lanes.id from segmentation.lanes
        where
            (lanes.memory_mb > 0 or lanes.pixels > 0 or lanes.model_revision is not null or lanes.dtype is not null)
            and not exists (select 1 from segmentation.turns where turns.lane_id = lanes.id)
        for update skip locked
    );
    delete from segmentation.lanes
    where
        lanes.id = any(idle)
        and not exists (select 1 from segmentation.turns where turns.lane_id = lanes.id)
        and not exists (
            -- What is in work may come back.
            select 1 from segmentation.attempts
            inner join public.segmentation_results as task on attempts.result_id = task.id
            where attempts.ended_at is null and task.lane_id = lanes.id
        );
    get diagnostics pruned = row_count;
    return pruned;
end;
$$;
comment on function segmentation.prune_lanes is 'Remove the lanes that nobody needs now; how many.';
revoke execute on function segmentation.prune_lanes from public;

create or replace function segmentation.prune_results(p_limit integer)
returns integer
language plpgsql
security definer
set search_path = ''
as $$
declare
    pruned integer;
begin
    perform segmentation.require_operator();
    if not coalesce(p_limit between 1 and 10000, false) then
        perform segmentation.refuse(400, 'invalid_request', 'Prune 1 to 10000 results at once.');
    end if;
    delete from segmentation.spent_keys where spent_until < now();
    delete from segmentation.object_deletions where done_at < now() - interval '7 days';
    delete from segmentation.workers where last_seen_at < now() - interval '30 days';
    perform segmentation.prune_lanes();
    delete from public.segmentation_results as results
    where results.id in (
        select old.id
        from segmentation.tiers
        inner join public.users_profile as profile on tiers.tier = profile.tier
        inner join public.segmentation_results as old on profile.id = old.user_id
        where
            tiers.retention_days is not null
            and old.finished_at < now() - make_interval(days => tiers.retention_days)
            -- Its Idempotency-Key is promised for a day.
            and old.created_at < now() - interval '24 hours'
        order by old.finished_at
        limit p_limit
        for update of old skip locked
    );
    get diagnostics pruned = row_count;
    return pruned;
end;
$$;
