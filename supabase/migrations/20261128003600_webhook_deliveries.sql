-- What users are told, and how often it was tried: a logged outbox, written by the transaction
-- that moves the task.

create type public.webhook_delivery_status as enum (
    'pending', -- waits for next_attempt_at, then for a dispatcher
    'delivered', -- answered with 2xx
    'dead' -- given up; a redelivery makes it pending again
);
comment on type public.webhook_delivery_status is 'Where a webhook delivery stands.';

create table public.webhook_deliveries (
    id text primary key default 'msg_' || replace(gen_random_uuid()::text, '-', ''),
    endpoint_id uuid not null,
    user_id uuid not null,
    event text not null,
    task_id uuid,
    body text not null,
    status public.webhook_delivery_status not null default 'pending',
    attempt_count integer not null default 0,
    next_attempt_at timestamptz not null default now(),
    last_status_code integer,
    created_at timestamptz not null default now(),
    finished_at timestamptz,
    claim_token bigint,

    constraint webhook_deliveries_to_an_endpoint
    foreign key (endpoint_id) references public.webhook_endpoints (id) on delete cascade,
    constraint webhook_deliveries_event_known check (
        event in ('task.done', 'task.failed', 'task.cancelled', 'task.progress', 'webhook.test')
    ),
    -- Thin: the receiver reads the rest by the task's id (Standard Webhooks asks for less than 20 kB).
    constraint webhook_deliveries_body_is_thin check (octet_length(body) <= 16384),
    constraint webhook_deliveries_finished_matches_status check ((finished_at is not null) = (status <> 'pending'))
)
with (fillfactor = 80, autovacuum_vacuum_scale_factor = 0.02);
comment on table public.webhook_deliveries is 'One message to one endpoint. Its id is the receiver''s idempotency key.';
comment on column public.webhook_deliveries.body is 'The exact text that is signed and sent.';
comment on column public.webhook_deliveries.next_attempt_at is
'A dispatcher may take it from then on; moved on while one works.';
comment on column public.webhook_deliveries.claim_token is 'Fencing token of the dispatcher that works on it.';

-- Read by claim_deliveries, front to back.
create index webhook_deliveries_due on public.webhook_deliveries (next_attempt_at, id)
where status = 'pending';
-- Read by GET /api/v1/webhooks/{id}/deliveries, newest first, and by the cascade.
create index webhook_deliveries_by_endpoint on public.webhook_deliveries (endpoint_id, created_at desc, id desc);
-- Read by the throttle of task.progress.
create index webhook_deliveries_by_task on public.webhook_deliveries (task_id, endpoint_id, created_at desc);
-- Read by prune_webhooks.
create index webhook_deliveries_by_end on public.webhook_deliveries (finished_at)
where finished_at is not null;

alter table public.webhook_deliveries enable row level security;
revoke all on public.webhook_deliveries from anon, authenticated, service_role;
grant select (
    id, endpoint_id, user_id, event, task_id, body, status, attempt_count, next_attempt_at, last_status_code,
    created_at, finished_at
) on public.webhook_deliveries to authenticated;
grant select on public.webhook_deliveries to service_role;
create policy "Users read their own webhook deliveries" on public.webhook_deliveries
for select to authenticated
using ((select auth.uid()) = user_id);

create table public.webhook_attempts (
    id bigint generated always as identity primary key,
    delivery_id text not null,
    user_id uuid not null,
    attempted_at timestamptz not null default now(),
    status_code integer,
    latency_ms integer not null,
    answer text,
    error text,

    constraint webhook_attempts_at_a_delivery
    foreign key (delivery_id) references public.webhook_deliveries (id) on delete cascade,
    constraint webhook_attempts_latency_not_negative check (latency_ms >= 0),
    constraint webhook_attempts_status_code_is_http check (status_code between 100 and 599),
    constraint webhook_attempts_answer_is_short check (char_length(answer) <= 1024),
    constraint webhook_attempts_error_is_short check (char_length(error) <= 500)
);
comment on table public.webhook_attempts is 'Each try at a delivery, with what the receiver answered.';
comment on column public.webhook_attempts.answer is 'The first bytes of the answer, as text.';
comment on column public.webhook_attempts.error is 'Why there was no answer.';

-- Read by GET /api/v1/webhooks/{id}/deliveries, by s3 replay, and by the cascade.
create index webhook_attempts_by_delivery on public.webhook_attempts (delivery_id, id desc);

alter table public.webhook_attempts enable row level security;
revoke all on public.webhook_attempts from anon, authenticated, service_role;
grant select on public.webhook_attempts to authenticated, service_role;
create policy "Users read the attempts at their own webhooks" on public.webhook_attempts
for select to authenticated
using ((select auth.uid()) = user_id);

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
