-- Wake listeners by webhook: a logged outbox row, and a kick by pg_net where there is one.
--
-- pg_net keeps its queue in an unlogged table, tries once, and shows request headers to every role
-- of the database. So the kick carries a signature of its own body and time, never a secret, and
-- whether it arrives matters to nobody's correctness: the listener only looks sooner.

create table segmentation.wake_targets (
    id uuid primary key default gen_random_uuid(),
    name text not null,
    url text not null,
    secret text not null default segmentation.new_webhook_secret(),
    enabled boolean not null default true,
    created_at timestamptz not null default now(),

    constraint wake_targets_name_unique unique (name),
    constraint wake_targets_name_length check (char_length(name) between 1 and 120),
    constraint wake_targets_url_is_http check (
        url ~ '^https?://[^/@[:space:]]+(/[^[:space:]]*)?$' and char_length(url) <= 2048
    )
);
comment on table segmentation.wake_targets is 'Listeners with an address. Only operators change it.';

alter table segmentation.wake_targets enable row level security;

create policy "Nobody reads wake targets but functions" on segmentation.wake_targets
for select to authenticated
using (false);

create table segmentation.wake_outbox (
    id text primary key default 'msg_' || replace(gen_random_uuid()::text, '-', ''),
    task_id uuid not null,
    body text not null,
    created_at timestamptz not null default now()
);
comment on table segmentation.wake_outbox is 'What listeners were to be told; kept for a day, for s3 replay.';
comment on column segmentation.wake_outbox.task_id is 'No foreign key: it outlives a deleted task.';
comment on column segmentation.wake_outbox.body is
'The exact text that is signed: what a Database Webhook would send, with ids only.';

-- Read by s3 replay and the pruning.
create index wake_outbox_by_time on segmentation.wake_outbox (created_at);

alter table segmentation.wake_outbox enable row level security;

create policy "Nobody reads the wake outbox but functions" on segmentation.wake_outbox
for select to authenticated
using (false);

create function segmentation.kick(p_id text, p_body jsonb)
returns void
language plpgsql
security invoker
set search_path = ''
as $$
declare
    target segmentation.wake_targets;
    moment bigint := extract(epoch from clock_timestamp());
begin
    if to_regprocedure('net.http_post(text,jsonb,jsonb,jsonb,integer)') is null then
        return;
    end if;
    for target in select * from segmentation.wake_targets where wake_targets.enabled
    loop
        perform net.http_post(
            url => target.url,
            body => p_body,
            headers => jsonb_build_object(
                'content-type', 'application/json',
                'webhook-id', p_id,
                'webhook-timestamp', moment::text,
                'webhook-signature', segmentation.webhook_signature(target.secret, p_id, moment, p_body::text)
            ),
            timeout_milliseconds => 5000
        );
    end loop;
end;
$$;
comment on function segmentation.kick is
'Have pg_net post a signed hint to each listener with an address; nothing without pg_net.';
revoke execute on function segmentation.kick from public;

create function segmentation.write_wake()
returns trigger
language plpgsql
security definer
set search_path = ''
as $$
declare
    message jsonb;
    message_id text;
begin
    if not exists (select 1 from segmentation.wake_targets where wake_targets.enabled) then
        return null;
    end if;
    message := jsonb_build_object(
        'type', 'INSERT', 'schema', 'public', 'table', 'segmentation_results',
        'record', jsonb_build_object('id', new.id, 'kind', new.kind, 'status', new.status),
        'old_record', null
    );
    insert into segmentation.wake_outbox (task_id, body) values (new.id, message::text)
    returning id into message_id;
    begin
        perform segmentation.kick(message_id, message);
    exception when others then
        -- A hint is never worth a task.
        raise warning 'listeners were not kicked: %', sqlerrm;
    end;
    return null;
end;
$$;
comment on function segmentation.write_wake is 'Trigger: note that listeners are to be woken, and kick them.';
revoke execute on function segmentation.write_wake from public;

create trigger segmentation_results_c_write_wake
after insert on public.segmentation_results
for each row execute function segmentation.write_wake();

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
returns table (name text, url text, secret text)
language plpgsql
stable
security definer
set search_path = ''
as $$
begin
    perform segmentation.require_operator();
    return query
    select targets.name, targets.url, targets.secret from segmentation.wake_targets as targets where targets.enabled;
end;
$$;
comment on function segmentation.wake_targets is 'See public.wake_targets.';
revoke execute on function segmentation.wake_targets from public;
grant execute on function segmentation.wake_targets to service_role;

create function public.wake_targets()
returns table (name text, url text, secret text)
language sql
stable
security invoker
set search_path = ''
as $$
    select * from segmentation.wake_targets();
$$;
comment on function public.wake_targets is
'Operators and the Edge Function notify-listener: who is to be woken, where, signed with what.';
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
