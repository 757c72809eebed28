-- task_outlook: how long is the line, and how long may it take?

drop function public.queue_position;
drop function segmentation.queue_position;

create function segmentation.tasks_ahead(p_task public.segmentation_results)
returns integer
language sql
stable
security invoker
set search_path = ''
as $$
    select count(*)::integer from (
        select 1
        from segmentation.lanes
        inner join segmentation.turns on lanes.id = turns.lane_id and turns.place <= p_task.place
        inner join public.segmentation_results as ahead
            on turns.user_id = ahead.user_id and turns.lane_id = ahead.lane_id
        where
            lanes.kind = p_task.kind
            and ahead.status = 'pending'
            and (ahead.place, ahead.id) < (p_task.place, p_task.id)
        limit 10000
    ) as line;
$$;
comment on function segmentation.tasks_ahead is 'Pending tasks of its kind in front of a task, counted up to 10,000.';
revoke execute on function segmentation.tasks_ahead from public;

create function segmentation.eta_seconds(p_task public.segmentation_results, p_ahead integer)
returns integer
language plpgsql
stable
security invoker
set search_path = ''
as $$
declare
    lane segmentation.lanes;
    slots numeric;
    own_slots integer;
    own_ahead integer;
    seconds numeric;
begin
    select * into lane from segmentation.lanes where lanes.id = p_task.lane_id;
    select sum(coalesce((workers.capabilities ->> 'slots')::numeric, 1)) into slots
    from segmentation.workers
    where segmentation.is_online(workers) and segmentation.can_do(workers.capabilities, lane);
    select avg(extract(epoch from recent.ended_at - recent.claimed_at)) into seconds
    from (
        select attempts.claimed_at, attempts.ended_at
        from segmentation.attempts
        inner join public.segmentation_results as task on attempts.result_id = task.id
        where attempts.outcome = 'done' and task.kind = p_task.kind
        order by attempts.ended_at desc
        limit 50
    ) as recent;
    -- A user's own tasks go no faster than their tier lets them.
    own_slots := (segmentation.tier_of(p_task.user_id)).max_in_flight;
    select count(*) into own_ahead from (
        select 1 from public.segmentation_results as mine
        where
            mine.user_id = p_task.user_id and mine.lane_id = p_task.lane_id and mine.status = 'pending'
            and mine.place < p_task.place
        limit 10000
    ) as mine;
    -- Said aloud, for greatest() passes over nulls.
    if slots is null then
        return null;
    end if;
    return ceil(
        extract(epoch from greatest(p_task.run_after - now(), interval '0'))
        + seconds * (1 + greatest(trunc(p_ahead / slots), coalesce(trunc(own_ahead / own_slots::numeric), 0)))
    );
end;
$$;
comment on function segmentation.eta_seconds is
'Seconds until a pending task ends: the line, by the mean of the last 50 attempts, over the slots online; or null.';
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
    ahead integer;
begin
    select * into task from public.segmentation_results as results
    where results.id = p_id and results.user_id = auth.uid() and results.status = 'pending';
    if not found then
        return jsonb_build_object('queue_position', null, 'eta_seconds', null);
    end if;
    ahead := segmentation.tasks_ahead(task);
    return jsonb_build_object('queue_position', ahead, 'eta_seconds', segmentation.eta_seconds(task, ahead));
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
