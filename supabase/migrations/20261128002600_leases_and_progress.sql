-- What a worker says while it works, and what it may read and write meanwhile.

create function segmentation.renew_lease(p_token bigint, p_lease_seconds integer)
returns text
language plpgsql
security definer
set search_path = ''
as $$
declare
    attempt segmentation.attempts;
begin
    perform segmentation.require_worker();
    if not coalesce(p_lease_seconds between 1 and 86400, false) then
        perform segmentation.refuse(400, 'invalid_request', 'A lease lasts 1 to 86400 seconds.');
    end if;
    select * into attempt from segmentation.attempts
    where
        token = p_token
        and ended_at is null
        and deadline_at > now()
        and (segmentation.is_operator() or machine_id is not distinct from auth.uid());
    if not found then
        return 'stale';
    end if;
    if attempt.lease_expires_at >= least(now() + make_interval(secs => p_lease_seconds * 0.8), attempt.deadline_at) then
        return 'ok';
    end if;
    -- Only the attempt is touched, so no task is locked. The reaper looks at the lease again
    -- before it ends an attempt, so either the renewal or the reaping wins.
    update segmentation.attempts
    set lease_expires_at = least(now() + make_interval(secs => p_lease_seconds), deadline_at)
    where token = p_token and ended_at is null and deadline_at > now();
    if not found then
        return 'stale';
    end if;
    -- A worker whose slots are all busy does not claim, but it is online.
    update segmentation.workers set last_seen_at = now()
    where
        workers.machine_id is not distinct from attempt.machine_id and workers.worker = attempt.worker
        and workers.last_seen_at < now() - interval '10 seconds';
    return 'ok';
end;
$$;
comment on function segmentation.renew_lease is 'See public.renew_lease.';
revoke execute on function segmentation.renew_lease from public;
grant execute on function segmentation.renew_lease to authenticated, service_role;

create function public.renew_lease(p_token bigint, p_lease_seconds integer default 30)
returns text
language sql
security invoker
set search_path = ''
as $$
    select segmentation.renew_lease(p_token, p_lease_seconds);
$$;
comment on function public.renew_lease is
'Workers: hold on to a task, until its deadline at most: ok or stale. After ok at least 0.8 of the lease is left.';
revoke execute on function public.renew_lease from public, anon, authenticated, service_role;
grant execute on function public.renew_lease to authenticated, service_role;

create function segmentation.report_progress(p_token bigint, p_progress double precision, p_computed integer)
returns text
language plpgsql
security definer
set search_path = ''
as $$
declare
    attempt segmentation.attempts := segmentation.lock_attempt(p_token);
    worth integer := (select cost from public.segmentation_results as results where results.id = attempt.result_id);
begin
    if attempt.token is null or attempt.ended_at is not null then
        return 'stale';
    end if;
    if not coalesce(p_progress between 0 and 1, false) or p_computed not between 0 and worth then
        perform segmentation.refuse(
            400, 'invalid_request', format('Progress lies between 0 and 1, computed between 0 and %s.', worth)
        );
    end if;
    -- Reports may overtake each other; nothing goes back within an attempt.
    update public.segmentation_results as results
    set
        progress = greatest(results.progress, p_progress::real),
        computed = greatest(results.computed, p_computed)
    where
        results.id = attempt.result_id
        and (results.progress < p_progress::real or results.computed < p_computed);
    return 'ok';
end;
$$;
comment on function segmentation.report_progress is 'See public.report_progress.';
revoke execute on function segmentation.report_progress from public;
grant execute on function segmentation.report_progress to authenticated, service_role;

create function public.report_progress(p_token bigint, p_progress double precision, p_computed integer default null)
returns text
language sql
security invoker
set search_path = ''
as $$
    select segmentation.report_progress(p_token, p_progress, p_computed);
$$;
comment on function public.report_progress is
'Workers: how far the attempt is, 0 to 1, and how many credits'' worth is computed: ok or stale.';
revoke execute on function public.report_progress from public, anon, authenticated, service_role;
grant execute on function public.report_progress to authenticated, service_role;

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
'Workers: {"source", "result_prefix", "expires_at"} of a live attempt of the caller''s, else null.';
revoke execute on function public.attempt_objects from public, anon, authenticated, service_role;
grant execute on function public.attempt_objects to authenticated, service_role;
