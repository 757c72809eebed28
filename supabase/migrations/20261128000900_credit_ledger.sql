-- The credit ledger, and how credits are held and settled. Rows are added, never changed;
-- users_profile.credits is their running sum. Each step writes its row and moves the balance in one
-- transaction, which locks the task's row before the profile's.
--
--   hold --+--> capture [+ remainder] --> refund
--          +--> release

create type public.usage_action as enum (
    'grant', -- credits given: sign-up, purchase, gift (+)
    'hold', -- set aside for a new task (-)
    'capture', -- a hold spent: the task is done (0)
    'release', -- a hold given back: the task failed or was cancelled (+)
    'refund', -- given back after a capture (+)
    'remainder' -- the rest of a hold after a partial capture (+)
);
comment on type public.usage_action is 'A ledger row''s kind; it says which way the credits go.';

create table public.usage_logs (
    id bigint generated always as identity primary key,
    user_id uuid not null,
    action public.usage_action not null,
    credits_used integer not null,
    result_id uuid,
    event_id text,
    reason text,
    created_at timestamptz not null default now(),

    constraint usage_logs_user_has_a_profile
    foreign key (user_id) references public.users_profile (id) on delete cascade,
    constraint usage_logs_credits_not_negative check (credits_used >= 0),
    constraint usage_logs_names_its_task check (action = 'grant' or result_id is not null),
    constraint usage_logs_event_id_length check (char_length(event_id) between 1 and 255),
    constraint usage_logs_only_grants_have_events check (event_id is null or action = 'grant')
);
comment on table public.usage_logs is 'The append-only credit ledger.';
comment on column public.usage_logs.credits_used is 'Never negative; the action says which way they go.';
comment on column public.usage_logs.result_id is
'The task paid for. No foreign key: the ledger outlives a deleted result.';
comment on column public.usage_logs.event_id is 'The payment provider''s event that brought the credits.';
comment on column public.usage_logs.reason is 'Why credits were granted or refunded; written by an operator.';

-- Read by GET /api/v1/usage (newest first), by ledger_mismatches, and by the cascade.
create index usage_logs_by_user on public.usage_logs (user_id, id desc);
-- A task holds credits once.
create unique index usage_logs_one_hold_per_task on public.usage_logs (result_id)
where action = 'hold';
-- A hold is spent or given back, never both, never twice.
create unique index usage_logs_one_settlement_per_task on public.usage_logs (result_id)
where action in ('capture', 'release');
-- The rest of a hold comes back once.
create unique index usage_logs_one_remainder_per_task on public.usage_logs (result_id)
where action = 'remainder';
-- A capture is refunded once.
create unique index usage_logs_one_refund_per_task on public.usage_logs (result_id)
where action = 'refund';
-- One event tops up once, however often it is repeated.
create unique index usage_logs_one_top_up_per_event on public.usage_logs (event_id)
where event_id is not null;

alter table public.usage_logs enable row level security;
revoke all on public.usage_logs from anon, authenticated, service_role;
grant select on public.usage_logs to authenticated, service_role;
create policy "Users read their own ledger" on public.usage_logs
for select to authenticated
using ((select auth.uid()) = user_id);

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

create function segmentation.hold_credits(p_task public.segmentation_results)
returns void
language plpgsql
security invoker
set search_path = ''
as $$
begin
    update public.users_profile
    set credits = credits - p_task.cost
    where id = p_task.user_id and credits >= p_task.cost;
    if not found then
        perform segmentation.refuse(
            402, 'insufficient_credits', format('The task costs %s credits. Nothing was queued or charged.', p_task.cost)
        );
    end if;
    insert into public.usage_logs (user_id, action, credits_used, result_id)
    values (p_task.user_id, 'hold', p_task.cost, p_task.id);
end;
$$;
comment on function segmentation.hold_credits is 'Set the cost of a new task aside, or refuse it with PT402.';
revoke execute on function segmentation.hold_credits from public;

create function segmentation.settle_credits(p_task public.segmentation_results)
returns void
language plpgsql
security invoker
set search_path = ''
as $$
begin
    if p_task.charged = 0 then
        perform segmentation.release_credits(p_task);
        return;
    end if;
    insert into public.usage_logs (user_id, action, credits_used, result_id)
    values (p_task.user_id, 'capture', p_task.charged, p_task.id);
    if p_task.charged < p_task.cost then
        insert into public.usage_logs (user_id, action, credits_used, result_id)
        values (p_task.user_id, 'remainder', p_task.cost - p_task.charged, p_task.id);
        update public.users_profile
        set credits = credits + p_task.cost - p_task.charged
        where id = p_task.user_id;
    end if;
end;
$$;
comment on function segmentation.settle_credits is
'Spend what a final task is charged, and give the rest of its hold back.';
revoke execute on function segmentation.settle_credits from public;

create function segmentation.release_credits(p_task public.segmentation_results)
returns void
language sql
security invoker
set search_path = ''
as $$
    insert into public.usage_logs (user_id, action, credits_used, result_id)
    values (p_task.user_id, 'release', p_task.cost, p_task.id);
    update public.users_profile set credits = credits + p_task.cost where id = p_task.user_id;
$$;
comment on function segmentation.release_credits is 'Give the hold of a failed or cancelled task back.';
revoke execute on function segmentation.release_credits from public;

create function segmentation.add_credits(p_user_id uuid, p_credits integer, p_reason text)
returns integer
language plpgsql
security invoker
set search_path = ''
as $$
declare
    balance integer;
begin
    update public.users_profile set credits = credits + p_credits where id = p_user_id
    returning credits into balance;
    if not found then
        perform segmentation.refuse(404, 'not_found', 'No user has that id.');
    end if;
    insert into public.usage_logs (user_id, action, credits_used, reason)
    values (p_user_id, 'grant', p_credits, p_reason);
    return balance;
end;
$$;
comment on function segmentation.add_credits is 'Grant credits to a user; the new balance.';
revoke execute on function segmentation.add_credits from public;
