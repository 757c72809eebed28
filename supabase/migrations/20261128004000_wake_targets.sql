-- What an operator does with listeners that have an address, and what these do with a webhook.

create function segmentation.register_wake_target(p_name text, p_url text)
returns text
language plpgsql
security definer
set search_path = ''
as $$
declare
    target_secret text;
begin
    perform segmentation.require_operator();
    insert into segmentation.wake_targets (name, url) values (p_name, p_url)
    on conflict (name) do update set url = excluded.url, enabled = true
    returning secret into target_secret;
    return target_secret;
end;
$$;
comment on function segmentation.register_wake_target is 'See public.register_wake_target.';
revoke execute on function segmentation.register_wake_target from public;
grant execute on function segmentation.register_wake_target to service_role;

create function public.register_wake_target(p_name text, p_url text)
returns text
language sql
security invoker
set search_path = ''
as $$
    select segmentation.register_wake_target(p_name, p_url);
$$;
comment on function public.register_wake_target is
'Operators: wake the listener of that name at its /webhooks/supabase; its secret (LISTENER_WEBHOOK_SECRETS).';
revoke execute on function public.register_wake_target from public, anon, authenticated, service_role;
grant execute on function public.register_wake_target to service_role;

create function segmentation.rotate_wake_secret(p_name text)
returns text
language plpgsql
security definer
set search_path = ''
as $$
declare
    new_secret text;
begin
    perform segmentation.require_operator();
    update segmentation.wake_targets as targets
    set
        old_secret = targets.secret,
        old_secret_until = now() + interval '24 hours',
        secret = segmentation.new_webhook_secret()
    where targets.name = p_name
    returning targets.secret into new_secret;
    if not found then
        perform segmentation.refuse(404, 'not_found', 'No listener has that name.');
    end if;
    return new_secret;
end;
$$;
comment on function segmentation.rotate_wake_secret is 'See public.rotate_wake_secret.';
revoke execute on function segmentation.rotate_wake_secret from public;
grant execute on function segmentation.rotate_wake_secret to service_role;

create function public.rotate_wake_secret(p_name text)
returns text
language sql
security invoker
set search_path = ''
as $$
    select segmentation.rotate_wake_secret(p_name);
$$;
comment on function public.rotate_wake_secret is
'Operators: that listener''s new secret; the one before signs beside it for 24 hours.';
revoke execute on function public.rotate_wake_secret from public, anon, authenticated, service_role;
grant execute on function public.rotate_wake_secret to service_role;

create function segmentation.remove_wake_target(p_name text)
returns text
language plpgsql
security definer
set search_path = ''
as $$
begin
    perform segmentation.require_operator();
    delete from segmentation.wake_targets where name = p_name;
    if not found then
        perform segmentation.refuse(404, 'not_found', 'No listener has that name.');
    end if;
    return 'ok';
end;
$$;
comment on function segmentation.remove_wake_target is 'See public.remove_wake_target.';
revoke execute on function segmentation.remove_wake_target from public;
grant execute on function segmentation.remove_wake_target to service_role;

create function public.remove_wake_target(p_name text)
returns text
language sql
security invoker
set search_path = ''
as $$
    select segmentation.remove_wake_target(p_name);
$$;
comment on function public.remove_wake_target is 'Operators: wake that listener no more: ok.';
revoke execute on function public.remove_wake_target from public, anon, authenticated, service_role;
grant execute on function public.remove_wake_target to service_role;

create function segmentation.wake_targets()
returns table (name text, url text, secrets text[])
language plpgsql
stable
security definer
set search_path = ''
as $$
begin
    perform segmentation.require_operator();
    return query
    select targets.name, targets.url, segmentation.wake_secrets(targets)
    from segmentation.wake_targets as targets
    where targets.enabled;
end;
$$;
comment on function segmentation.wake_targets is 'See public.wake_targets.';
revoke execute on function segmentation.wake_targets from public;
grant execute on function segmentation.wake_targets to service_role;

create function public.wake_targets()
returns table (name text, url text, secrets text[])
language sql
stable
security invoker
set search_path = ''
as $$
    select * from segmentation.wake_targets();
$$;
comment on function public.wake_targets is
'Operators and the Edge Function notify-listener: who is to be woken, where, signed with each of what.';
revoke execute on function public.wake_targets from public, anon, authenticated, service_role;
grant execute on function public.wake_targets to service_role;

create table segmentation.webhook_receipts (
    id text primary key,
    received_at timestamptz not null default now(),

    constraint webhook_receipts_id_length check (char_length(id) between 1 and 200)
);
comment on table segmentation.webhook_receipts is
'Ids of webhooks that listeners took, so that none counts twice; kept for a day.';

-- Read by accept_webhook, which forgets old ones.
create index webhook_receipts_by_time on segmentation.webhook_receipts (received_at);

alter table segmentation.webhook_receipts enable row level security;
create policy "Nobody reads webhook receipts but functions" on segmentation.webhook_receipts
for select to authenticated
using (false);

create function segmentation.accept_webhook(p_id text)
returns text
language plpgsql
security definer
set search_path = ''
as $$
begin
    perform segmentation.require_worker();
    if not coalesce(char_length(p_id) between 1 and 200, false) then
        perform segmentation.refuse(400, 'invalid_request', 'A webhook''s id has 1 to 200 characters.');
    end if;
    insert into segmentation.webhook_receipts (id) values (p_id) on conflict (id) do nothing;
    if not found then
        return 'duplicate';
    end if;
    delete from segmentation.webhook_receipts
    where webhook_receipts.id in (
        select old.id from segmentation.webhook_receipts as old
        where old.received_at < now() - interval '1 day'
        limit 10
        for update skip locked
    );
    return 'ok';
end;
$$;
comment on function segmentation.accept_webhook is 'See public.accept_webhook.';
revoke execute on function segmentation.accept_webhook from public;
grant execute on function segmentation.accept_webhook to authenticated, service_role;

create function public.accept_webhook(p_id text)
returns text
language sql
security invoker
set search_path = ''
as $$
    select segmentation.accept_webhook(p_id);
$$;
comment on function public.accept_webhook is
'Listeners: is that webhook new? ok or duplicate, across restarts and machines.';
revoke execute on function public.accept_webhook from public, anon, authenticated, service_role;
grant execute on function public.accept_webhook to authenticated, service_role;
