-- How a pending task stands: its position, when it may end, and why nobody can start it. All three
-- are computed when asked, at a bounded cost however many wait.

create function segmentation.tasks_ahead(
    p_task public.segmentation_results, p_class segmentation.queue_classes
)
returns bigint
language plpgsql
stable
security invoker
set search_path = ''
-- As in pick_tasks.
set plan_cache_mode = 'force_custom_plan'
as $$
declare
    most constant integer := 1000;
    -- Classes whose tasks the same machines do, if any that can do this one is online.
    classes integer[] := array(
        select other.id from segmentation.queue_classes as other
        where other.id = p_class.id or exists (
            select 1 from segmentation.workers
            where
                segmentation.is_online(workers)
                and segmentation.can_do(workers.capabilities, p_class)
                and segmentation.can_do(workers.capabilities, other)
                and other.kind = p_class.kind
        )
    );
begin
    return (
        select count(*) from (
            select 1
            from segmentation.user_queues as queue
            cross join lateral (
                select 1 from public.segmentation_results as other
                where
                    other.user_id = queue.user_id and other.queue_class_id = queue.queue_class_id
                    and other.status = 'pending'
                    and (other.virtual_start, other.id) < (p_task.virtual_start, p_task.id)
                -- A limit here keeps the join from reading all that waits.
                limit most
            ) as waiting
            where queue.queue_class_id = any(classes) and queue.virtual_start <= p_task.virtual_start
            limit most
        ) as ahead
    );
end;
$$;
comment on function segmentation.tasks_ahead is 'Pending tasks in front of that one, counted up to 1,000.';
revoke execute on function segmentation.tasks_ahead from public;

create function segmentation.eta_seconds(
    p_task public.segmentation_results, p_class segmentation.queue_classes, p_ahead bigint
)
returns integer
language plpgsql
stable
security invoker
set search_path = ''
as $$
declare
    slots bigint;
    at_work bigint;
    mean_seconds double precision;
begin
    select
        sum(coalesce((workers.capabilities ->> 'slots')::numeric, 1))::bigint,
        sum((
            select count(*) from segmentation.attempts
            where
                attempts.ended_at is null and attempts.worker = workers.worker
                and attempts.machine_id is not distinct from workers.machine_id
        ))
    into slots, at_work
    from segmentation.workers
    where segmentation.is_online(workers) and segmentation.can_do(workers.capabilities, p_class);
    if slots is null then
        return null;
    end if;
    select avg(extract(epoch from recent.ended_at - recent.claimed_at)) into mean_seconds
    from (
        select attempts.result_id, attempts.claimed_at, attempts.ended_at
        from segmentation.attempts
        where attempts.outcome = 'done'
        order by attempts.ended_at desc
        limit 50
    ) as recent
    inner join public.segmentation_results as done on recent.result_id = done.id
    where done.kind = p_task.kind;
    -- Rounds of all slots until its turn, but no less than its backoff; and then its own round.
    return ceil(mean_seconds + greatest(
        mean_seconds * ((p_ahead + at_work) / slots), extract(epoch from p_task.run_after - now())
    ));
end;
$$;
comment on function segmentation.eta_seconds is
'About so long until it ends, by the mean of the last 50 attempts; null: no capable worker, or no history.';
revoke execute on function segmentation.eta_seconds from public;

create function segmentation.queue_status(p_id uuid)
returns jsonb
language plpgsql
stable
security definer
set search_path = ''
as $$
declare
    task public.segmentation_results;
    class segmentation.queue_classes;
    ahead bigint;
begin
    select * into task from public.segmentation_results as results
    where results.id = p_id and results.user_id = auth.uid() and results.status = 'pending';
    if not found then
        return jsonb_build_object('queue_position', null, 'eta_seconds', null, 'blocked_by', null);
    end if;
    select * into class from segmentation.queue_classes as classes where classes.id = task.queue_class_id;
    ahead := segmentation.tasks_ahead(task, class);
    return jsonb_build_object(
        'queue_position', ahead,
        'eta_seconds', segmentation.eta_seconds(task, class, ahead),
        'blocked_by', segmentation.blocked_reason(class)
    );
end;
$$;
comment on function segmentation.queue_status is 'See public.queue_status.';
revoke execute on function segmentation.queue_status from public;
grant execute on function segmentation.queue_status to authenticated;

create function public.queue_status(p_id uuid)
returns jsonb
language sql
stable
security invoker
set search_path = ''
as $$
    select segmentation.queue_status(p_id);
$$;
comment on function public.queue_status is
'Owner: queue_position (counted to 1,000), eta_seconds and blocked_by of a pending task; nulls for any other.';
revoke execute on function public.queue_status from public, anon, authenticated, service_role;
grant execute on function public.queue_status to authenticated;
