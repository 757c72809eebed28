-- The masks are stored: done.

create function segmentation.complete_task(
    p_token bigint,
    p_manifest_url text,
    p_mask_image_url text,
    p_overlay_image_url text,
    p_instance_count integer,
    p_summary jsonb,
    p_timings jsonb
)
returns text
language plpgsql
security definer
set search_path = ''
as $$
declare
    attempt segmentation.attempts := segmentation.lock_attempt(p_token);
    task public.segmentation_results;
    prefix text;
begin
    if attempt.outcome = 'done' then
        return 'duplicate';
    end if;
    -- A lease that has run out still counts until the reaper ends the attempt: nobody else has it.
    if attempt.token is null or attempt.ended_at is not null then
        return 'stale';
    end if;
    prefix := format('results/%s/%s/%s/', attempt.user_id, attempt.result_id, p_token);
    if p_manifest_url is null
        or not (starts_with(p_manifest_url, prefix)
            and coalesce(starts_with(p_mask_image_url, prefix), true)
            and coalesce(starts_with(p_overlay_image_url, prefix), true))
    then
        perform segmentation.refuse(400, 'invalid_request', format('Results must lie under %s', prefix));
    end if;
    if p_instance_count is null or p_instance_count < 0 or octet_length(p_summary::text) > 262144 then
        perform segmentation.refuse(
            400, 'invalid_request', 'instance_count must be 0 or more, and summary at most 256 KiB.'
        );
    end if;

    perform segmentation.end_attempt(p_token, 'done', p_timings => p_timings);
    update public.segmentation_results as results
    set
        status = 'done',
        progress = 1,
        finished_at = now(),
        computed = results.cost,
        charged = results.cost,
        manifest_url = p_manifest_url,
        mask_image_url = p_mask_image_url,
        overlay_image_url = p_overlay_image_url,
        instance_count = p_instance_count,
        summary = p_summary
    where results.id = attempt.result_id
    returning * into task;
    perform segmentation.settle_credits(task);
    return 'ok';
end;
$$;
comment on function segmentation.complete_task is 'See public.complete_task.';
revoke execute on function segmentation.complete_task from public;
grant execute on function segmentation.complete_task to authenticated, service_role;

create function public.complete_task(
    p_token bigint,
    p_manifest_url text,
    p_mask_image_url text,
    p_overlay_image_url text,
    p_instance_count integer,
    p_summary jsonb,
    p_timings jsonb default null
)
returns text
language sql
security invoker
set search_path = ''
as $$
    select segmentation.complete_task(
        p_token, p_manifest_url, p_mask_image_url, p_overlay_image_url, p_instance_count, p_summary, p_timings
    );
$$;
comment on function public.complete_task is
'Workers: results lie under results/{user}/{task}/{token}/: ok, duplicate or stale. Charges the hold.';
revoke execute on function public.complete_task from public, anon, authenticated, service_role;
grant execute on function public.complete_task to authenticated, service_role;
