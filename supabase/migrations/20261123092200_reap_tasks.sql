-- reap_tasks: end the attempts of workers that fell silent or never come to an end.

create function segmentation.reap_tasks(p_limit integer)
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
    return reaped;
end;
$$;
comment on function segmentation.reap_tasks is 'See public.reap_tasks.';
revoke execute on function segmentation.reap_tasks from public;
grant execute on function segmentation.reap_tasks to authenticated, service_role;

create function public.reap_tasks(p_limit integer default 100)
returns integer
language sql
security invoker
set search_path = ''
as $$
    select segmentation.reap_tasks(p_limit);
$$;
comment on function public.reap_tasks is
'Workers: end silent and overdue attempts; how many. Any worker, every few seconds.';
revoke execute on function public.reap_tasks from public, anon, authenticated, service_role;
grant execute on function public.reap_tasks to authenticated, service_role;
