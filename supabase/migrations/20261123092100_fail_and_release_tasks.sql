-- fail_task and release_task: an attempt that ends without a result.

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
    perform segmentation.retry_or_fail(attempt.result_id, p_error_code);
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

create function segmentation.release_task(p_token bigint)
returns text
language plpgsql
security definer
set search_path = ''
as $$
declare
    attempt segmentation.attempts := segmentation.lock_attempt(p_token);
    releases_before bigint;
begin
    if attempt.outcome = 'released' then
        return 'duplicate';
    end if;
    if attempt.token is null or attempt.ended_at is not null then
        return 'stale';
    end if;
    select count(*) into releases_before
    from segmentation.attempts as earlier
    where earlier.result_id = attempt.result_id and earlier.outcome = 'released';
    perform segmentation.end_attempt(p_token, 'released');
    if releases_before >= 10 then
        -- A task that every worker hands back would go round for ever.
        perform segmentation.retry_or_fail(attempt.result_id, 'internal');
        return 'ok';
    end if;
    -- run_after stays: the task gets its old place in the queue back.
    update public.segmentation_results
    set status = 'pending', progress = 0, attempt_count = attempt_count - 1
    where id = attempt.result_id;
    return 'ok';
end;
$$;
comment on function segmentation.release_task is 'See public.release_task.';
revoke execute on function segmentation.release_task from public;
grant execute on function segmentation.release_task to authenticated, service_role;

create function public.release_task(p_token bigint)
returns text
language sql
security invoker
set search_path = ''
as $$
    select segmentation.release_task(p_token);
$$;
comment on function public.release_task is
'Workers: give a task back unharmed, due at once: ok, duplicate or stale. Not counted, ten times per task.';
revoke execute on function public.release_task from public, anon, authenticated, service_role;
grant execute on function public.release_task to authenticated, service_role;
