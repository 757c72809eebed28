-- The credit ledger. Rows are added, never changed; users_profile.credits is its running sum.

create type public.usage_action as enum (
    'grant', -- credits given: sign-up, purchase, gift (+)
    'hold', -- set aside for a new task (-)
    'capture', -- a hold spent: the task is done (0)
    'release', -- a hold given back: the task failed or was cancelled (+)
    'refund' -- given back after a capture (+)
);
comment on type public.usage_action is 'A ledger row''s kind; it says which way the credits go.';

create table public.usage_logs (
    id bigint generated always as identity primary key,
    user_id uuid not null,
    action public.usage_action not null,
    credits_used integer not null,
    result_id uuid,
    reason text,
    created_at timestamptz not null default now(),

    constraint usage_logs_user_has_a_profile
    foreign key (user_id) references public.users_profile (id) on delete cascade,
    constraint usage_logs_credits_not_negative check (credits_used >= 0),
    constraint usage_logs_names_its_task check (action = 'grant' or result_id is not null)
);
comment on table public.usage_logs is 'The append-only credit ledger.';
comment on column public.usage_logs.credits_used is 'Never negative; the action says which way they go.';
comment on column public.usage_logs.result_id is
'The task paid for. No foreign key: the ledger outlives a deleted result.';
comment on column public.usage_logs.reason is 'Why credits were granted or refunded; written by an operator.';

-- Read by GET /api/v1/usage (newest first), by ledger_mismatches, and by the cascade.
create index usage_logs_by_user on public.usage_logs (user_id, id desc);
-- A task holds credits once.
create unique index usage_logs_one_hold_per_task on public.usage_logs (result_id)
where action = 'hold';
-- A hold is spent or given back, never both, never twice.
create unique index usage_logs_one_settlement_per_task on public.usage_logs (result_id)
where action in ('capture', 'release');
-- A capture is refunded once.
create unique index usage_logs_one_refund_per_task on public.usage_logs (result_id)
where action = 'refund';

create function segmentation.keep_ledger()
returns trigger
language plpgsql
security invoker
set search_path = ''
as $$
begin
    -- Deeper than 1 is the cascade from a deleted user.
    if tg_op = 'DELETE' and pg_trigger_depth() > 1 then
        return old;
    end if;
    raise exception 'usage_logs is append-only' using errcode = 'restrict_violation';
end;
$$;
comment on function segmentation.keep_ledger is
'Trigger: refuse every change of a ledger row, except that it goes with its user.';
revoke execute on function segmentation.keep_ledger from public;

create trigger usage_logs_stay_as_written
before update or delete on public.usage_logs
for each row execute function segmentation.keep_ledger();

alter table public.usage_logs enable row level security;
revoke all on public.usage_logs from anon, authenticated, service_role;
grant select on public.usage_logs to authenticated, service_role;

create policy "Users read their own ledger" on public.usage_logs
for select to authenticated
using ((select auth.uid()) = user_id);
