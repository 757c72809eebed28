-- Listeners that have an address hear of a new task by webhook, where pg_net is installed.
--
-- pg_net keeps its queue in an unlogged table, tries once, and shows request headers to every role
-- of the database. So the message carries a signature of its own body and time, never a secret.
-- It may be lost or come twice: it only makes the listener look sooner, and its poll finds the rest.

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
comment on column segmentation.wake_targets.old_secret is 'The secret before; it signs beside the new one.';
comment on column segmentation.wake_targets.old_secret_until is 'Until then the old secret signs too.';

alter table segmentation.wake_targets enable row level security;
create policy "Nobody reads wake targets but functions" on segmentation.wake_targets
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

create function segmentation.notify_workers()
returns trigger
language plpgsql
security definer
set search_path = ''
as $$
declare
    target segmentation.wake_targets;
    message_id text := 'msg_' || replace(gen_random_uuid()::text, '-', '');
    moment bigint := extract(epoch from clock_timestamp());
    message jsonb := jsonb_build_object(
        'type', 'INSERT', 'schema', 'public', 'table', 'segmentation_results',
        'record', jsonb_build_object('id', new.id, 'kind', new.kind, 'status', new.status),
        'old_record', null
    );
begin
    if to_regprocedure('net.http_post(text,jsonb,jsonb,jsonb,integer)') is null then
        return null;
    end if;
    for target in select * from segmentation.wake_targets where wake_targets.enabled
    loop
        perform net.http_post(
            url => target.url,
            body => message,
            headers => jsonb_build_object(
                'content-type', 'application/json',
                'webhook-id', message_id,
                'webhook-timestamp', moment::text,
                'webhook-signature', (
                    select string_agg(
                        segmentation.webhook_signature(secrets.secret, message_id, moment, message::text), ' '
                        order by secrets.nth
                    )
                    from unnest(segmentation.wake_secrets(target)) with ordinality as secrets (secret, nth)
                )
            ),
            timeout_milliseconds => 5000
        );
    end loop;
    return null;
exception when others then
    -- A hint is never worth a task.
    raise warning 'listeners were not notified: %', sqlerrm;
    return null;
end;
$$;
comment on function segmentation.notify_workers is
'Trigger: have pg_net post a signed hint to each listener with an address; nothing without pg_net.';
revoke execute on function segmentation.notify_workers from public;

create trigger segmentation_results_c_notify_workers
after insert on public.segmentation_results
for each row execute function segmentation.notify_workers();
