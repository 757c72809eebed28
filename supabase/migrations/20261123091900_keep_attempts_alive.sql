-- renew_lease and report_progress: what a worker says while it works.

create function segmentation.renew_lease(p_token bigint, p_lease_seconds integer)
returns text
language plpgsql
security definer
set search_path = ''
as $$
begin
    perform segmentation.require_worker();
    if not coalesce(p_lease_seconds between 1 and 86400, false) then
        perform segmentation.refuse(400, 'invalid_request', 'A lease lasts 1 to 86400 seconds.');
    end if;
    -- Only the attempt is touched, so no task is locked. The reaper looks at the lease again
    -- before it ends an attempt, so either the renewal or the reaping wins.
    update segmentation.attempts
    set lease_expires_at = least(now() + make_interval(secs => p_lease_seconds), deadline_at)
    where
        token = p_token
        and ended_at is null
        and deadline_at > now()
        and (segmentation.is_operator() or machine_id is not distinct from auth.uid());
    return case when found then 'ok' else 'stale' end;
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
comment on function public.renew_lease is 'Workers: hold on to a task, until its deadline at most: ok or stale.';
revoke execute on function public.renew_lease from public, anon, authenticated, service_role;
grant execute on function public.renew_lease to authenticated, service_role;

create function segmentation.report_progress(p_token bigint, p_progress double precision)
returns text
language plpgsql
security definer
set search_path = ''
as $$
declare
    attempt segmentation.attempts := segmentation.lock_attempt(p_token);
begin
    if attempt.token is null or attempt.ended_at is not null then
        return 'stale';
    end if;
    if not coalesce(p_progress between 0 and 1, false) then
        perform segmentation.refuse(400, 'invalid_request', 'Progress lies between 0 and 1.');
    end if;
    -- Reports may overtake each other; progress does not go back within an attempt.
    update public.segmentation_results set progress = p_progress
    where id = attempt.result_id and progress < p_progress::real;
    return 'ok';
end;
$$;
comment on function segmentation.report_progress is 'See public.report_progress.';
revoke execute on function segmentation.report_progress from public;
grant execute on function segmentation.report_progress to authenticated, service_role;

create function public.report_progress(p_token bigint, p_progress double precision)
returns text
language sql
security invoker
set search_path = ''
as $$
    select segmentation.report_progress(p_token, p_progress);
$$;
comment on function public.report_progress is 'Workers: how far the attempt is, 0 to 1: ok or stale.';
revoke execute on function public.report_progress from public, anon, authenticated, service_role;
grant execute on function public.report_progress to authenticated, service_role;
