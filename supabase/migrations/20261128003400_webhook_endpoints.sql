-- Where users want to hear of their tasks, and the secrets that sign what is sent there.

create function segmentation.new_webhook_secret()
returns text
language sql
volatile
security invoker
set search_path = ''
as $$
    -- Two random uuids are 32 bytes, 244 of their bits by the strong random source.
    select 'whsec_' || encode(uuid_send(gen_random_uuid()) || uuid_send(gen_random_uuid()), 'base64');
$$;
comment on function segmentation.new_webhook_secret is 'A new secret in Standard Webhooks'' spelling.';
revoke execute on function segmentation.new_webhook_secret from public;

create function segmentation.webhook_signature(p_secret text, p_id text, p_timestamp bigint, p_body text)
returns text
language sql
immutable
security invoker
set search_path = ''
as $$
    select 'v1,' || encode(extensions.hmac(
        convert_to(format('%s.%s.%s', p_id, p_timestamp, p_body), 'UTF8'),
        decode(substr(p_secret, 7), 'base64'),
        'sha256'
    ), 'base64');
$$;
comment on function segmentation.webhook_signature is
'One signature of the header webhook-signature (Standard Webhooks 1.0), over the body''s UTF-8 bytes.';
revoke execute on function segmentation.webhook_signature from public;

create table public.webhook_endpoints (
    id uuid primary key default gen_random_uuid(),
    user_id uuid not null,
    url text not null,
    events text[] not null,
    description text,
    enabled boolean not null default true,
    disabled_reason text,
    failures integer not null default 0,
    circuit_open_until timestamptz,
    created_at timestamptz not null default now(),
    updated_at timestamptz not null default now(),

    constraint webhook_endpoints_owner_has_a_profile
    foreign key (user_id) references public.users_profile (id) on delete cascade,
    -- Plain http only to the same machine, for development; the dispatcher refuses that unless told.
    constraint webhook_endpoints_url_is_https check (
        url ~ '^(https://[^/@[:space:]]+|http://(localhost|127\.0\.0\.1)(:[0-9]+)?)(/[^[:space:][:cntrl:]]*)?$'
        and char_length(url) <= 2048
    ),
    constraint webhook_endpoints_events_known check (
        cardinality(events) >= 1
        and events <@ array['task.done', 'task.failed', 'task.cancelled', 'task.progress']
    ),
    constraint webhook_endpoints_description_length check (char_length(description) <= 500),
    constraint webhook_endpoints_disabled_reason_known check (disabled_reason in ('owner', 'gone'))
);
comment on table public.webhook_endpoints is 'A user''s address for webhooks. Only functions change it.';
comment on column public.webhook_endpoints.disabled_reason is 'owner: switched off; gone: it answered 410.';
comment on column public.webhook_endpoints.failures is 'Failed attempts in a row.';
comment on column public.webhook_endpoints.circuit_open_until is
'Nothing is sent there before: five failures in a row, then one goes to see; or the receiver asked for time.';

-- Read by GET /api/v1/webhooks, by the triggers that write deliveries, and by the cascade.
create index webhook_endpoints_by_user on public.webhook_endpoints (user_id, created_at, id);
-- Read by claim_deliveries, which lets one delivery go where many have failed.
create index webhook_endpoints_failing on public.webhook_endpoints (id)
where failures >= 5;

create trigger webhook_endpoints_touch_updated_at
before update on public.webhook_endpoints
for each row execute function segmentation.touch_updated_at();

alter table public.webhook_endpoints enable row level security;
revoke all on public.webhook_endpoints from anon, authenticated, service_role;
grant select on public.webhook_endpoints to authenticated, service_role;
create policy "Users read their own webhook endpoints" on public.webhook_endpoints
for select to authenticated
using ((select auth.uid()) = user_id);

create table segmentation.webhook_secrets (
    id bigint generated always as identity primary key,
    endpoint_id uuid not null,
    secret text not null default segmentation.new_webhook_secret(),
    created_at timestamptz not null default now(),
    expires_at timestamptz,

    constraint webhook_secrets_of_an_endpoint
    foreign key (endpoint_id) references public.webhook_endpoints (id) on delete cascade,
    constraint webhook_secrets_secret_is_standard check (secret ~ '^whsec_[A-Za-z0-9+/=]+$')
);
comment on table segmentation.webhook_secrets is 'Signing secrets; two of an endpoint are valid while it changes them.';
comment on column segmentation.webhook_secrets.expires_at is 'Null: the current one.';

-- Read by claim_deliveries, newest first, and by the cascade.
create index webhook_secrets_by_endpoint on segmentation.webhook_secrets (endpoint_id, id desc);

alter table segmentation.webhook_secrets enable row level security;
create policy "Nobody reads webhook secrets but functions" on segmentation.webhook_secrets
for select to authenticated
using (false);

create function segmentation.webhook_secrets_of(p_endpoint_id uuid)
returns text[]
language plpgsql
security definer
set search_path = ''
as $$
begin
    perform segmentation.require_operator();
    return (
        select array_agg(secrets.secret order by secrets.id desc)
        from segmentation.webhook_secrets as secrets
        where secrets.endpoint_id = p_endpoint_id and coalesce(secrets.expires_at > now(), true)
    );
end;
$$;
comment on function segmentation.webhook_secrets_of is 'See public.webhook_secrets_of.';
revoke execute on function segmentation.webhook_secrets_of from public;
grant execute on function segmentation.webhook_secrets_of to service_role;

create function public.webhook_secrets_of(p_endpoint_id uuid)
returns text[]
language sql
security invoker
set search_path = ''
as $$
    select segmentation.webhook_secrets_of(p_endpoint_id);
$$;
comment on function public.webhook_secrets_of is
'Operators, for s3 replay: the secrets that sign for an endpoint now, newest first.';
revoke execute on function public.webhook_secrets_of from public, anon, authenticated, service_role;
grant execute on function public.webhook_secrets_of to service_role;
