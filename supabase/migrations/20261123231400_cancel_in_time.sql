-- reap_tasks also cancels what waited too long, and lets the others say whether anybody can do them.

create function segmentation.expire_tasks(p_limit integer)
returns integer
language plpgsql
security invoker
set search_path = ''
as $$
declare
    late record;
    expired integer := 0;
begin
    for late in
        select results.id from public.segmentation_results as results
        where results.status = 'pending' and results.expires_at <= now()
        order by results.expires_at
        limit p_limit
        for update skip locked
    loop
        perform segmentation.close_task(late.id, 'cancelled', 'expired');
        expired := expired + 1;
    end loop;
    return expired;
end;
$$;
comment on function segmentation.expire_tasks is 'Cancel pending tasks past their deadline_seconds; how many.';
revoke execute on function segmentation.expire_tasks from public;

create or replace function segmentation.reap_tasks(p_limit integer)
returns integer
language plpgsql
security definer
set search_path = ''
as $$
declare
    silent record;
    cause text;
    reaped integer := 0;
begin
    perform segmentation.require_worker();
    if not coalesce(p_limit between 1 and 1000, false) then
        perform segmentation.refuse(400, 'invalid_request', 'Reap 1 to 1000 attempts at once.');
    end if;
    for silent in
        select attempts.token, attempts.result_id, attempts.deadline_at
        from segmentation.attempts
        inner join public.segmentation_results as task on attempts.result_id = task.id
        where attempts.ended_at is null and attempts.lease_expires_at <= now()
        order by attempts.lease_expires_at
        limit p_limit
        -- A locked task is just being settled or reaped by another.
        for update of task skip locked
    loop
        -- The lease may have been renewed since the query began: lock the attempt and look again.
        perform 1 from segmentation.attempts
        where token = silent.token and ended_at is null and lease_expires_at <= now()
        for update;
        continue when not found;
        cause := case when silent.deadline_at <= now() then 'deadline_exceeded' else 'lease_expired' end;
        perform segmentation.end_attempt(silent.token, cause::segmentation.attempt_outcome, cause);
        perform segmentation.retry_or_fail(silent.result_id, cause);
        reaped := reaped + 1;
    end loop;
    perform segmentation.expire_tasks(p_limit);
    perform segmentation.mark_blocked();
    return reaped;
end;
$$;
comment on function public.reap_tasks is
'Workers: end silent and overdue attempts (how many), cancel expired tasks, mark those nobody online can do.';
