-- release_task says why: a worker that stops, or a pipeline that cannot.
--
-- A soft stop is nobody's fault, so it never counts, and the task is due at once. A pipeline that
-- cannot do a task now may be busy or broken, so the task waits longer each time; and one that
-- every pipeline hands back would go round for ever, so after ten of these they count.

alter table segmentation.attempts
add column release_reason text,
add constraint attempts_release_reason_known check (release_reason in ('stopping', 'unable')),
add constraint attempts_release_reason_when_released check (release_reason is null or outcome = 'released');
comment on column segmentation.attempts.release_reason is
'Why it was handed back: a worker that stops, or a pipeline that is unable. Null: not released, or not said.';

drop function public.release_task;
drop function segmentation.release_task;

create function segmentation.release_task(p_token bigint, p_reason text)
returns text
language plpgsql
security definer
set search_path = ''
as $$
declare
    attempt segmentation.attempts := segmentation.lock_attempt(p_token);
    unable_before integer;
    wait interval := '0';
begin
    if not coalesce(p_reason in ('stopping', 'unable'), false) then
        perform segmentation.refuse(400, 'invalid_request', 'The reason of a release is stopping or unable.');
    end if;
    if attempt.outcome = 'released' then
        return 'duplicate';
    end if;
    if attempt.token is null or attempt.ended_at is not null then
        return 'stale';
    end if;
    perform segmentation.end_attempt(p_token, 'released');
    update segmentation.attempts set release_reason = p_reason where token = p_token;
    if p_reason = 'unable' then
        select count(*) into unable_before
        from segmentation.attempts as earlier
        where
            earlier.result_id = attempt.result_id
            and earlier.token < p_token and earlier.release_reason = 'unable';
        if unable_before >= 10 then
            perform segmentation.retry_or_fail(attempt.result_id, 'internal');
            return 'ok';
        end if;
        wait := segmentation.backoff(unable_before + 1);
    end if;
    -- Its place stays: the task gets its old place in the line back.
    update public.segmentation_results as results
    set
        status = 'pending',
        progress = 0,
        computed = 0,
        blocked_by = segmentation.mark_of(results.lane_id),
        -- Nothing to wait for: it was due, or it would not have been claimed.
        run_after = case when p_reason = 'unable' then now() + wait else results.run_after end,
        attempt_count = results.attempt_count - 1
    where results.id = attempt.result_id;
    return 'ok';
end;
$$;
comment on function segmentation.release_task is 'See public.release_task.';
revoke execute on function segmentation.release_task from public;
grant execute on function segmentation.release_task to authenticated, service_role;

create function public.release_task(p_token bigint, p_reason text default 'stopping')
returns text
language sql
security invoker
set search_path = ''
as $$
    select segmentation.release_task(p_token, p_reason);
$$;
comment on function public.release_task is
'Workers: give a task back: ok, duplicate or stale. stopping: due at once; unable: later, ten times per task.';
revoke execute on function public.release_task from public, anon, authenticated, service_role;
grant execute on function public.release_task to authenticated, service_role;
