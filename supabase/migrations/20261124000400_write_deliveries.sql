-- A task that moves leaves a delivery for each endpoint that asked for it, in the same transaction.

create function segmentation.webhook_body(p_event text, p_task public.segmentation_results)
returns text
language sql
stable
security invoker
set search_path = ''
as $$
    select jsonb_build_object(
        'type', p_event,
        'timestamp', to_char(now() at time zone 'utc', 'YYYY-MM-DD"T"HH24:MI:SS.MS"Z"'),
        'data', jsonb_build_object(
            'task_id', p_task.id,
            'status', p_task.status,
            'progress', p_task.progress,
            'project_id', p_task.project_id,
            'instance_count', p_task.instance_count,
            'credits_charged', p_task.charged,
            'error', case when p_task.error_code is not null then jsonb_build_object(
                'code', p_task.error_code, 'message', p_task.error_message
            ) end,
            'created_at', p_task.created_at,
            'finished_at', p_task.finished_at
        )
    )::text;
$$;
comment on function segmentation.webhook_body is
'The body of a webhook about a task: thin, contracts.webhooks.TaskEvent.';
revoke execute on function segmentation.webhook_body from public;

create function segmentation.write_deliveries()
returns trigger
language plpgsql
security definer
set search_path = ''
as $$
declare
    name text := case when new.finished_at is null then 'task.progress' else 'task.' || new.status end;
begin
    insert into public.webhook_deliveries (endpoint_id, user_id, event, task_id, body)
    select endpoints.id, new.user_id, name, new.id, segmentation.webhook_body(name, new)
    from public.webhook_endpoints as endpoints
    where
        endpoints.user_id = new.user_id and endpoints.enabled and name = any(endpoints.events)
        -- Progress at most every five seconds.
        and (name <> 'task.progress' or not exists (
            select 1 from public.webhook_deliveries as earlier
            where
                earlier.task_id = new.id and earlier.endpoint_id = endpoints.id
                and earlier.created_at > now() - interval '5 seconds'
        ));
    return null;
end;
$$;
comment on function segmentation.write_deliveries is 'Trigger: write what the owner''s endpoints are to be told.';
revoke execute on function segmentation.write_deliveries from public;

create trigger segmentation_results_f_write_deliveries
after update on public.segmentation_results
for each row
when (
    (new.finished_at is not null and old.finished_at is null)
    or (new.status = 'processing' and new.progress > old.progress)
)
execute function segmentation.write_deliveries();

create function segmentation.test_webhook(p_id uuid)
returns text
language plpgsql
security definer
set search_path = ''
as $$
declare
    endpoint public.webhook_endpoints := segmentation.own_webhook(p_id);
    delivery text;
begin
    if not endpoint.enabled then
        perform segmentation.refuse(400, 'invalid_request', 'The webhook is switched off. Switch it on first.');
    end if;
    -- The address may be somebody else's.
    if (
        select count(*) >= 10 from public.webhook_deliveries as deliveries
        where
            deliveries.endpoint_id = p_id and deliveries.event = 'webhook.test'
            and deliveries.created_at > now() - interval '1 minute'
    ) then
        perform segmentation.refuse(429, 'rate_limited', 'Ten tests a minute are enough. Wait a little.');
    end if;
    insert into public.webhook_deliveries (endpoint_id, user_id, event, body)
    values (
        endpoint.id, endpoint.user_id, 'webhook.test',
        jsonb_build_object(
            'type', 'webhook.test',
            'timestamp', to_char(now() at time zone 'utc', 'YYYY-MM-DD"T"HH24:MI:SS.MS"Z"'),
            'data', jsonb_build_object('webhook_id', endpoint.id)
        )::text
    )
    returning id into delivery;
    return delivery;
end;
$$;
comment on function segmentation.test_webhook is 'See public.test_webhook.';
revoke execute on function segmentation.test_webhook from public;
grant execute on function segmentation.test_webhook to authenticated;

create function public.test_webhook(p_id uuid)
returns text
language sql
security invoker
set search_path = ''
as $$
    select segmentation.test_webhook(p_id);
$$;
comment on function public.test_webhook is 'Have webhook.test delivered to one''s endpoint; the delivery''s id.';
revoke execute on function public.test_webhook from public, anon, authenticated, service_role;
grant execute on function public.test_webhook to authenticated;

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
        -- Whoever works on it now has lost it.
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
