-- What an owner may do with an endpoint. The secret is shown when it is made, and never again.

create function segmentation.refuse_bad_webhook(p_url text, p_events text[], p_description text)
returns void
language plpgsql
immutable
security invoker
set search_path = ''
as $$
begin
    if p_url !~ '^(https://[^/@[:space:]]+|http://(localhost|127\.0\.0\.1)(:[0-9]+)?)(/[^[:space:][:cntrl:]]*)?$'
        or char_length(p_url) > 2048
    then
        perform segmentation.refuse(400, 'invalid_request', 'url must be https, without user or spaces, at most 2048 characters.');
    end if;
    if not (p_events <@ array['task.done', 'task.failed', 'task.cancelled', 'task.progress'] and cardinality(p_events) >= 1)
    then
        perform segmentation.refuse(400, 'invalid_request', 'events takes task.done, task.failed, task.cancelled and task.progress.');
    end if;
    if char_length(p_description) > 500 then
        perform segmentation.refuse(400, 'invalid_request', 'description has at most 500 characters.');
    end if;
end;
$$;
comment on function segmentation.refuse_bad_webhook is 'Refuse an endpoint that cannot be; nulls are not looked at.';
revoke execute on function segmentation.refuse_bad_webhook from public;

create function segmentation.own_webhook(p_id uuid)
returns public.webhook_endpoints
language plpgsql
security invoker
set search_path = ''
as $$
declare
    endpoint public.webhook_endpoints;
begin
    select * into endpoint from public.webhook_endpoints as endpoints
    where endpoints.id = p_id and endpoints.user_id = auth.uid()
    for update;
    if not found then
        perform segmentation.refuse(404, 'not_found', 'No webhook of yours has that id.');
    end if;
    return endpoint;
end;
$$;
comment on function segmentation.own_webhook is 'Lock and read an endpoint of the caller; PT404 for anybody else''s.';
revoke execute on function segmentation.own_webhook from public;

create function segmentation.create_webhook(p_url text, p_events text[], p_description text)
returns jsonb
language plpgsql
security definer
set search_path = ''
as $$
declare
    endpoint public.webhook_endpoints;
    new_secret text;
begin
    if auth.uid() is null then
        perform segmentation.refuse(401, 'unauthenticated', 'Only a signed-in user has webhooks.');
    end if;
    if p_url is null or p_events is null then
        perform segmentation.refuse(400, 'invalid_request', 'A webhook needs url and events.');
    end if;
    perform segmentation.refuse_bad_webhook(p_url, p_events, p_description);
    -- Each task writes a row for each of them.
    perform 1 from public.users_profile as profile where profile.id = auth.uid() for update;
    if (select count(*) from public.webhook_endpoints as endpoints where endpoints.user_id = auth.uid()) >= 10 then
        perform segmentation.refuse(429, 'rate_limited', 'You have ten webhooks already. Delete one first.');
    end if;
    insert into public.webhook_endpoints (user_id, url, events, description)
    values (auth.uid(), p_url, p_events, p_description)
    returning * into endpoint;
    insert into segmentation.webhook_secrets (endpoint_id) values (endpoint.id)
    returning secret into new_secret;
    return jsonb_build_object('webhook', to_jsonb(endpoint), 'secret', new_secret);
end;
$$;
comment on function segmentation.create_webhook is 'See public.create_webhook.';
revoke execute on function segmentation.create_webhook from public;
grant execute on function segmentation.create_webhook to authenticated;

create function public.create_webhook(p_url text, p_events text[], p_description text default null)
returns jsonb
language sql
security invoker
set search_path = ''
as $$
    select segmentation.create_webhook(p_url, p_events, p_description);
$$;
comment on function public.create_webhook is
'Owner: add an endpoint: {"webhook": row, "secret"}. The secret is shown this once.';
revoke execute on function public.create_webhook from public, anon, authenticated, service_role;
grant execute on function public.create_webhook to authenticated;

create function segmentation.update_webhook(
    p_id uuid, p_url text, p_events text[], p_description text, p_enabled boolean
)
returns jsonb
language plpgsql
security definer
set search_path = ''
as $$
declare
    endpoint public.webhook_endpoints := segmentation.own_webhook(p_id);
begin
    perform segmentation.refuse_bad_webhook(p_url, p_events, p_description);
    update public.webhook_endpoints as endpoints
    set
        url = coalesce(p_url, endpoints.url),
        events = coalesce(p_events, endpoints.events),
        description = coalesce(p_description, endpoints.description),
        enabled = coalesce(p_enabled, endpoints.enabled),
        disabled_reason = case coalesce(p_enabled, endpoints.enabled)
            when true then null else coalesce(endpoints.disabled_reason, 'owner')
        end,
        -- Somebody has looked at it: the circuit closes.
        failures = 0,
        circuit_open_until = null
    where endpoints.id = p_id
    returning * into endpoint;
    return to_jsonb(endpoint);
end;
$$;
comment on function segmentation.update_webhook is 'See public.update_webhook.';
revoke execute on function segmentation.update_webhook from public;
grant execute on function segmentation.update_webhook to authenticated;

create function public.update_webhook(
    p_id uuid,
    p_url text default null,
    p_events text[] default null,
    p_description text default null,
    p_enabled boolean default null
)
returns jsonb
language sql
security invoker
set search_path = ''
as $$
    select segmentation.update_webhook(p_id, p_url, p_events, p_description, p_enabled);
$$;
comment on function public.update_webhook is
'Change what is not null of one''s endpoint, and close its circuit; the row.';
revoke execute on function public.update_webhook from public, anon, authenticated, service_role;
grant execute on function public.update_webhook to authenticated;

create function segmentation.rotate_webhook_secret(p_id uuid)
returns text
language plpgsql
security definer
set search_path = ''
as $$
declare
    endpoint public.webhook_endpoints := segmentation.own_webhook(p_id);
    new_secret text;
begin
    delete from segmentation.webhook_secrets as secrets
    where secrets.endpoint_id = endpoint.id and secrets.expires_at is not null;
    -- Deliveries carry both signatures for a day, so that no receiver misses one.
    update segmentation.webhook_secrets as secrets set expires_at = now() + interval '24 hours'
    where secrets.endpoint_id = endpoint.id;
    insert into segmentation.webhook_secrets (endpoint_id) values (endpoint.id)
    returning secret into new_secret;
    return new_secret;
end;
$$;
comment on function segmentation.rotate_webhook_secret is 'See public.rotate_webhook_secret.';
revoke execute on function segmentation.rotate_webhook_secret from public;
grant execute on function segmentation.rotate_webhook_secret to authenticated;

create function public.rotate_webhook_secret(p_id uuid)
returns text
language sql
security invoker
set search_path = ''
as $$
    select segmentation.rotate_webhook_secret(p_id);
$$;
comment on function public.rotate_webhook_secret is
'A new secret for one''s endpoint, shown this once; the old one signs beside it for 24 hours.';
revoke execute on function public.rotate_webhook_secret from public, anon, authenticated, service_role;
grant execute on function public.rotate_webhook_secret to authenticated;

create function segmentation.delete_webhook(p_id uuid)
returns text
language plpgsql
security definer
set search_path = ''
as $$
declare
    endpoint public.webhook_endpoints := segmentation.own_webhook(p_id);
begin
    delete from public.webhook_endpoints where id = endpoint.id;
    return 'ok';
end;
$$;
comment on function segmentation.delete_webhook is 'See public.delete_webhook.';
revoke execute on function segmentation.delete_webhook from public;
grant execute on function segmentation.delete_webhook to authenticated;

create function public.delete_webhook(p_id uuid)
returns text
language sql
security invoker
set search_path = ''
as $$
    select segmentation.delete_webhook(p_id);
$$;
comment on function public.delete_webhook is 'Remove one''s endpoint, its secrets and its deliveries: ok.';
revoke execute on function public.delete_webhook from public, anon, authenticated, service_role;
grant execute on function public.delete_webhook to authenticated;

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
