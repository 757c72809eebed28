-- Retention: final tasks go when their tier says so, and with them their objects, by the outbox.

create function segmentation.prune_results(p_limit integer)
returns integer
language plpgsql
security definer
set search_path = ''
as $$
declare
    pruned integer;
begin
    perform segmentation.require_operator();
    if not coalesce(p_limit between 1 and 10000, false) then
        perform segmentation.refuse(400, 'invalid_request', 'Prune 1 to 10000 results at once.');
    end if;
    delete from segmentation.idempotency_keys where expires_at <= now();
    delete from segmentation.object_deletions where done_at < now() - interval '7 days';
    delete from segmentation.workers where last_seen_at < now() - interval '30 days';
    delete from public.segmentation_results as results
    where results.id in (
        select old.id
        from segmentation.tiers
        inner join public.users_profile as profile on tiers.tier = profile.tier
        inner join public.segmentation_results as old on profile.id = old.user_id
        where
            tiers.retention_days is not null
            and old.finished_at < now() - make_interval(days => tiers.retention_days)
        order by old.finished_at
        limit p_limit
        for update of old skip locked
    );
    get diagnostics pruned = row_count;
    return pruned;
end;
$$;
comment on function segmentation.prune_results is 'See public.prune_results.';
revoke execute on function segmentation.prune_results from public;
grant execute on function segmentation.prune_results to service_role;

create function public.prune_results(p_limit integer default 500)
returns integer
language sql
security invoker
set search_path = ''
as $$
    select segmentation.prune_results(p_limit);
$$;
comment on function public.prune_results is
'The janitor: remove final tasks older than their tier keeps them (how many), expired keys and workers long gone.';
revoke execute on function public.prune_results from public, anon, authenticated, service_role;
grant execute on function public.prune_results to service_role;
