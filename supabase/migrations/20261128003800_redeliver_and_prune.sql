-- Deliveries sent again, and deliveries that are old.

create function segmentation.redeliver_webhook(p_delivery_id text)
returns text
language plpgsql
security definer
set search_path = ''
as $$
begin
    update public.webhook_deliveries as deliveries
    set
        status = 'pending', attempt_count = 0, next_attempt_at = now(), finished_at = null,
        -- A dispatcher that works on it now is stale.
        claim_token = nextval('segmentation.tokens')
    where deliveries.id = p_delivery_id and deliveries.user_id = auth.uid();
    if not found then
        perform segmentation.refuse(404, 'not_found', 'No webhook delivery of yours has that id.');
    end if;
    return 'ok';
end;
$$;
comment on function segmentation.redeliver_webhook is 'See public.redeliver_webhook.';
revoke execute on function segmentation.redeliver_webhook from public;
grant execute on function segmentation.redeliver_webhook to authenticated;

create function public.redeliver_webhook(p_delivery_id text)
returns text
language sql
security invoker
set search_path = ''
as $$
    select segmentation.redeliver_webhook(p_delivery_id);
$$;
comment on function public.redeliver_webhook is
'Send a delivery of one''s own again, with the same id and a fresh schedule: ok.';
revoke execute on function public.redeliver_webhook from public, anon, authenticated, service_role;
grant execute on function public.redeliver_webhook to authenticated;

create function segmentation.prune_webhooks(p_days integer, p_limit integer)
returns integer
language plpgsql
security definer
set search_path = ''
as $$
declare
    pruned integer;
    overdue integer;
begin
    perform segmentation.require_operator();
    if not coalesce(p_days >= 1 and p_limit between 1 and 10000, false) then
        perform segmentation.refuse(400, 'invalid_request', 'At least a day; 1 to 10000 at once.');
    end if;
    delete from public.webhook_deliveries as deliveries
    where deliveries.id in (
        select old.id from public.webhook_deliveries as old
        where old.finished_at < now() - make_interval(days => p_days)
        order by old.finished_at
        limit p_limit
        for update skip locked
    );
    get diagnostics pruned = row_count;
    -- Due for so long: its endpoint is off, and each claim would have to look past it.
    delete from public.webhook_deliveries as deliveries
    where deliveries.id in (
        select old.id from public.webhook_deliveries as old
        where old.status = 'pending' and old.next_attempt_at < now() - make_interval(days => p_days)
        order by old.next_attempt_at
        limit p_limit
        for update skip locked
    );
    get diagnostics overdue = row_count;
    return pruned + overdue;
end;
$$;
comment on function segmentation.prune_webhooks is 'See public.prune_webhooks.';
revoke execute on function segmentation.prune_webhooks from public;
grant execute on function segmentation.prune_webhooks to service_role;

create function public.prune_webhooks(p_days integer default 30, p_limit integer default 500)
returns integer
language sql
security invoker
set search_path = ''
as $$
    select segmentation.prune_webhooks(p_days, p_limit);
$$;
comment on function public.prune_webhooks is
'The janitor: remove deliveries that ended or were due that long ago; how many.';
revoke execute on function public.prune_webhooks from public, anon, authenticated, service_role;
grant execute on function public.prune_webhooks to service_role;
