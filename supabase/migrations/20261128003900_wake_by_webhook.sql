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
    old_secret text,
    old_secret_until timestamptz,
    enabled boolean not null default true,
    created_at timestamptz not null default now(),

    constraint wake_targets_name_unique unique (name),
    constraint wake_targets_name_length check (char_length(name) between 1 and 120),
    constraint wake_targets_url_is_http check (
        url ~ '^https?://[^/@[:space:]]+(/[^[:space:]]*)?$' and char_length(url) <= 2048
    ),
    constraint wake_targets_old_secret_ends check ((old_secret is null) = (old_secret_until is null))
);
comment on table segmentation.wake_targets is 'Listeners with an address. Only operators change it.';
comment on column segmentation.wake_targets.old_secret is 'The one before; it signs beside the new one.';
comment on column segmentation.wake_targets.old_secret_until is 'Until then.';

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
comment on table segmentation.wake_outbox is
'What listeners were to be told; kept for a day, for an operator who asks whether and when a kick was written.';
comment on column segmentation.wake_outbox.task_id is 'No foreign key: it outlives a deleted task.';
comment on column segmentation.wake_outbox.body is
'The exact text that is signed: what a Database Webhook would send, with ids only.';

create index wake_outbox_by_time on segmentation.wake_outbox (created_at);
comment on index segmentation.wake_outbox_by_time is 'Read by the pruning, and by who looks for one.';

alter table segmentation.wake_outbox enable row level security;
create policy "Nobody reads the wake outbox but functions" on segmentation.wake_outbox
for select to authenticated
using (false);

create function segmentation.wake_secrets(p_target segmentation.wake_targets)
returns text[]
language sql
stable
security invoker
set search_path = ''
as $$
    select array_remove(
        array[
            p_target.secret,
            case when p_target.old_secret_until > now() then p_target.old_secret end
        ],
        null
    );
$$;
comment on function segmentation.wake_secrets is 'What signs for a listener now, newest first.';
revoke execute on function segmentation.wake_secrets from public;

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
                'webhook-signature', (
                    select string_agg(
                        segmentation.webhook_signature(secrets.secret, p_id, moment, p_body::text), ' '
                        order by secrets.place
                    )
                    from unnest(segmentation.wake_secrets(target)) with ordinality as secrets (secret, place)
                )
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
