-- A task that ran out of memory goes to a machine with more of it, or ends with a code that says so.

create or replace function segmentation.retry_or_fail(p_id uuid, p_error_code text)
returns void
language plpgsql
security invoker
set search_path = ''
as $$
begin
    update public.segmentation_results as results
    set
        status = 'pending',
        progress = 0,
        computed = 0,
        run_after = now() + segmentation.backoff(results.attempt_count)
    from segmentation.error_codes as codes
    where
        results.id = p_id
        and codes.code = p_error_code
        and codes.retryable
        and results.attempt_count < results.max_attempts;
    if not found then
        perform segmentation.close_task(p_id, 'failed', p_error_code);
    end if;
end;
$$;

create function segmentation.need_more_memory(p_attempt segmentation.attempts)
returns void
language plpgsql
security invoker
set search_path = ''
as $$
declare
    lane segmentation.lanes;
begin
    select lanes.* into lane
    from public.segmentation_results as results
    inner join segmentation.lanes on results.lane_id = lanes.id
    where results.id = p_attempt.result_id;
    lane := segmentation.lane_for(
        lane.kind,
        -- More than that machine had, in whole GiB.
        greatest(lane.memory_mb, (coalesce(p_attempt.memory_mb, 0) / 1024 + 1) * 1024),
        lane.pixels,
        lane.model_revision,
        lane.dtype
    );
    if segmentation.is_blocked(lane) then
        perform segmentation.close_task(p_attempt.result_id, 'failed', 'out_of_memory');
        return;
    end if;
    update public.segmentation_results set lane_id = lane.id where id = p_attempt.result_id;
    perform segmentation.retry_or_fail(p_attempt.result_id, 'out_of_memory');
end;
$$;
comment on function segmentation.need_more_memory is
'After out of memory: raise the floor and retry where somebody online has more, else fail.';
revoke execute on function segmentation.need_more_memory from public;

create or replace function segmentation.fail_task(p_token bigint, p_error_code text, p_detail text)
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
        perform segmentation.need_more_memory(attempt);
    else
        perform segmentation.retry_or_fail(attempt.result_id, p_error_code);
    end if;
    return 'ok';
end;
$$;

create or replace function segmentation.release_task(p_token bigint)
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
    -- run_after and place stay: the task gets its old place in the line back.
    update public.segmentation_results
    set status = 'pending', progress = 0, computed = 0, attempt_count = attempt_count - 1
    where id = attempt.result_id;
    return 'ok';
end;
$$;
