-- A worker asks every two seconds whether the task is still its own, so that a cancellation is
-- noticed soon; the lease is written only when a fifth of it has passed.

create or replace function segmentation.renew_lease(p_token bigint, p_lease_seconds integer)
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
    -- A worker with all hands full does not claim, but it is there.
    update segmentation.workers set last_seen_at = now()
    where
        workers.machine_id is not distinct from attempt.machine_id and workers.worker = attempt.worker
        and workers.last_seen_at < now() - interval '10 seconds';
    return 'ok';
end;
$$;
comment on function public.renew_lease is
'Workers: hold on to a task, until its deadline at most: ok or stale. After ok at least 0.8 of the lease is left.';
