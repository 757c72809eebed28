-- attempt_objects: what the holder of a live attempt may read and write, for the Edge Function
-- job-urls, which signs URLs for exactly that.

create function segmentation.attempt_objects(p_token bigint)
returns jsonb
language plpgsql
stable
security definer
set search_path = ''
as $$
begin
    perform segmentation.require_worker();
    return (
        select jsonb_build_object(
            'source', results.source_image_url,
            'result_prefix', format('results/%s/%s/%s/', results.user_id, results.id, attempts.token),
            'expires_at', attempts.deadline_at
        )
        from segmentation.attempts
        inner join public.segmentation_results as results on attempts.result_id = results.id
        where
            attempts.token = p_token
            and attempts.ended_at is null
            and attempts.lease_expires_at > now()
            -- Tokens can be guessed, so a machine sees only what it has claimed itself.
            and (segmentation.is_operator() or attempts.machine_id is not distinct from auth.uid())
    );
end;
$$;
comment on function segmentation.attempt_objects is 'See public.attempt_objects.';
revoke execute on function segmentation.attempt_objects from public;
grant execute on function segmentation.attempt_objects to authenticated, service_role;

create function public.attempt_objects(p_token bigint)
returns jsonb
language sql
stable
security invoker
set search_path = ''
as $$
    select segmentation.attempt_objects(p_token);
$$;
comment on function public.attempt_objects is
'Workers: {"source", "result_prefix", "expires_at"} of a live attempt of the caller''s; null: it is not, or no more.';
revoke execute on function public.attempt_objects from public, anon, authenticated, service_role;
grant execute on function public.attempt_objects to authenticated, service_role;
