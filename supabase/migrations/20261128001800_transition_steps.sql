-- The steps that transitions are made of: lock an attempt, end it, close its task or try it again.

create function segmentation.lock_attempt(p_token bigint)
returns segmentation.attempts
language plpgsql
security invoker
set search_path = ''
as $$
declare
    attempt segmentation.attempts;
begin
    perform segmentation.require_worker();
    perform 1
    from public.segmentation_results as results
    where results.id = (
        select attempts.result_id from segmentation.attempts
        where
            attempts.token = p_token
            -- Tokens can be guessed, so a machine holds only what it has claimed itself.
            and (attempts.machine_id is not distinct from auth.uid() or segmentation.is_operator())
    )
    for update;
    if found then
        -- Read only now that no other transition can run beside us.
        select * into attempt from segmentation.attempts where token = p_token;
    end if;
    return attempt;
end;
$$;
comment on function segmentation.lock_attempt is
'Lock the task of an attempt that the caller has claimed, and read the attempt; null: unknown, or not theirs.';
revoke execute on function segmentation.lock_attempt from public;

create function segmentation.end_attempt(
    p_token bigint,
    p_outcome segmentation.attempt_outcome,
    p_error_code text default null,
    p_error_detail text default null,
    p_timings jsonb default null
)
returns boolean
language plpgsql
security invoker
set search_path = ''
as $$
begin
    update segmentation.attempts
    set
        ended_at = clock_timestamp(),
        outcome = p_outcome,
        error_code = p_error_code,
        error_detail = left(p_error_detail, 4000),
        timings = p_timings
    where token = p_token and ended_at is null;
    return found;
end;
$$;
comment on function segmentation.end_attempt is 'Make a token worthless for ever. False: it was already.';
revoke execute on function segmentation.end_attempt from public;

create function segmentation.close_task(
    p_id uuid, p_status public.task_status, p_error_code text default null
)
returns void
language plpgsql
security invoker
set search_path = ''
as $$
declare
    task public.segmentation_results;
    reason segmentation.error_codes;
begin
    select * into reason from segmentation.error_codes as codes where codes.code = p_error_code;
    update public.segmentation_results as results
    set
        status = p_status,
        finished_at = now(),
        error_code = reason.code,
        error_message = reason.message,
        -- Our faults cost nothing; a withdrawal, or a fault of the user's, costs what was computed.
        charged = case when reason.refund = 'all' then 0 else results.computed end
    where results.id = p_id
    returning * into task;
    perform segmentation.settle_credits(task);
end;
$$;
comment on function segmentation.close_task is
'Make a task final without a result: failed or cancelled. Gives back what its reason says.';
revoke execute on function segmentation.close_task from public;

create function segmentation.backoff(p_attempt_count integer)
returns interval
language sql
volatile
security invoker
set search_path = ''
as $$
    select make_interval(secs => least(300, power(2, p_attempt_count)) * (0.5 + random()));
$$;
comment on function segmentation.backoff is
'Wait before the next attempt: 2, 4, 8, ... at most 300 s, times 0.5 to 1.5.';
revoke execute on function segmentation.backoff from public;

create function segmentation.retry_or_fail(p_id uuid, p_error_code text)
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
comment on function segmentation.retry_or_fail is
'After a bad end of an attempt: back to pending later, or failed for good.';
revoke execute on function segmentation.retry_or_fail from public;
