-- A task that comes back says at once whether anybody online can do it.

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
        blocked_by = segmentation.mark_of(results.lane_id),
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
