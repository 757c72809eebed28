-- What nobody else ends: silent attempts, and tasks that nobody began in time.
--
-- The lock order of all transactions: a user's idempotency key, their fair clock, then tasks, their
-- attempts, profiles, user queues. A submit holds its user's profile while it waits for the user's
-- queue, so a transaction that holds a queue must never wait for a profile. A single transition locks
-- one task and after it either a profile or a queue; reaping does many at once, so it goes in phases:
-- all attempts, all profiles, all queues. Claims lock user queues before tasks, but wait for neither:
-- they skip what is locked.

create function segmentation.expire_tasks(p_limit integer)
returns integer
language plpgsql
security invoker
set search_path = ''
as $$
declare
    late record;
    expired integer := 0;
begin
    for late in
        select results.id from public.segmentation_results as results
        where results.status = 'pending' and results.started_at is null and results.expires_at <= now()
        order by results.expires_at
        limit p_limit
        for update skip locked
    loop
        perform segmentation.close_task(late.id, 'cancelled', 'expired');
        expired := expired + 1;
    end loop;
    return expired;
end;
$$;
comment on function segmentation.expire_tasks is
'Cancel tasks that were never begun and are past their deadline_seconds; how many.';
revoke execute on function segmentation.expire_tasks from public;

create function segmentation.reap_tasks(p_limit integer)
returns integer
language plpgsql
security definer
set search_path = ''
as $$
declare
    silent record;
    cause text;
    causes text[] := '{}';
    ended uuid[] := '{}';
begin
    perform segmentation.require_worker();
    if not coalesce(p_limit between 1 and 1000, false) then
        perform segmentation.refuse(400, 'invalid_request', 'Reap 1 to 1000 attempts at once.');
    end if;
    -- All listeners and the janitor reap. Two at once would lock the same users in two orders.
    if not pg_try_advisory_xact_lock('segmentation.attempts'::regclass::oid::integer, 0) then
        return 0;
    end if;
    for silent in
        select attempts.token, attempts.result_id, attempts.deadline_at
        from segmentation.attempts
        inner join public.segmentation_results as task on attempts.result_id = task.id
        where attempts.ended_at is null and attempts.lease_expires_at <= now()
        order by attempts.lease_expires_at
        limit p_limit
        -- A locked task is just being settled by another.
        for update of task skip locked
    loop
        -- The lease may have been renewed since the query began: lock the attempt and look again.
        perform 1 from segmentation.attempts
        where token = silent.token and ended_at is null and lease_expires_at <= now()
        for update;
        continue when not found;
        cause := case when silent.deadline_at <= now() then 'deadline_exceeded' else 'lease_expired' end;
        perform segmentation.end_attempt(silent.token, cause::segmentation.attempt_outcome, cause);
        ended := ended || silent.result_id;
        causes := causes || cause;
    end loop;
    -- Locks profiles, as each of these tasks gives its hold back.
    perform segmentation.expire_tasks(p_limit);
    -- Before the first user queue: some of them may have no attempt left and give their hold back.
    perform 1 from public.users_profile as profile
    where profile.id in (
        select task.user_id from public.segmentation_results as task where task.id = any(ended)
    )
    order by profile.id
    for no key update;
    perform segmentation.retry_or_fail(over.result_id, over.cause)
    from unnest(ended, causes) as over (result_id, cause);
    return cardinality(ended);
end;
$$;
comment on function segmentation.reap_tasks is 'See public.reap_tasks.';
revoke execute on function segmentation.reap_tasks from public;
grant execute on function segmentation.reap_tasks to authenticated, service_role;

create function public.reap_tasks(p_limit integer default 100)
returns integer
language sql
security invoker
set search_path = ''
as $$
    select segmentation.reap_tasks(p_limit);
$$;
comment on function public.reap_tasks is
'Workers: end silent attempts (how many) and cancel expired tasks. 0 while another reaps.';
revoke execute on function public.reap_tasks from public, anon, authenticated, service_role;
grant execute on function public.reap_tasks to authenticated, service_role;
