-- A worker that cannot go on: the task failed, or it is handed back unharmed.

create function segmentation.raise_memory_floor(p_attempt segmentation.attempts)
returns void
language plpgsql
security invoker
set search_path = ''
as $$
declare
    class segmentation.queue_classes;
begin
    select classes.* into class
    from public.segmentation_results as results
    inner join segmentation.queue_classes as classes on results.queue_class_id = classes.id
    where results.id = p_attempt.result_id;
    class := segmentation.queue_class(
        class.kind,
        -- More than that machine had, as far as there are classes.
        greatest(class.memory_mb, least(coalesce(p_attempt.memory_mb, 0), 1048575) + 1),
        class.pixels,
        class.model_revision,
        class.dtype
    );
    if segmentation.blocked_reason(class) is not null then
        perform segmentation.close_task(p_attempt.result_id, 'failed', 'out_of_memory');
        return;
    end if;
    update public.segmentation_results set queue_class_id = class.id where id = p_attempt.result_id;
    perform segmentation.retry_or_fail(p_attempt.result_id, 'out_of_memory');
end;
$$;
comment on function segmentation.raise_memory_floor is
'After out of memory: retry on a worker online with more, or fail if there is none.';
revoke execute on function segmentation.raise_memory_floor from public;

create function segmentation.fail_task(p_token bigint, p_error_code text, p_detail text)
returns text
language plpgsql
security definer
set search_path = ''
as $$
declare
    attempt segmentation.attempts := segmentation.lock_attempt(p_token);
begin
    if attempt.outcome = 'failed' then
        return 'duplicate';
    end if;
    if attempt.token is null or attempt.ended_at is not null then
        return 'stale';
    end if;
    if not exists (select 1 from segmentation.error_codes as codes where codes.code = p_error_code) then
        perform segmentation.refuse(400, 'invalid_request', format('%L is no error code of a task.', p_error_code));
    end if;
    perform segmentation.end_attempt(p_token, 'failed', p_error_code, p_detail);
    if p_error_code = 'out_of_memory' then
        perform segmentation.raise_memory_floor(attempt);
    else
        perform segmentation.retry_or_fail(attempt.result_id, p_error_code);
    end if;
    return 'ok';
end;
$$;
comment on function segmentation.fail_task is 'See public.fail_task.';
revoke execute on function segmentation.fail_task from public;
grant execute on function segmentation.fail_task to authenticated, service_role;

create function public.fail_task(p_token bigint, p_error_code text, p_detail text default null)
returns text
language sql
security invoker
set search_path = ''
as $$
    select segmentation.fail_task(p_token, p_error_code, p_detail);
$$;
comment on function public.fail_task is
'Workers: the attempt failed: ok, duplicate or stale. The code and the attempts left decide on a retry.';
revoke execute on function public.fail_task from public, anon, authenticated, service_role;
grant execute on function public.fail_task to authenticated, service_role;

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
    -- Its virtual start stays: the task gets its old position in the queue back.
    update public.segmentation_results as results
    set
        status = 'pending',
        progress = 0,
        computed = 0,
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
