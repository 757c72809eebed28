-- The invariant of the money, as a query that must find nothing. The janitor runs it every hour.

create function segmentation.ledger_mismatches()
returns table (user_id uuid, result_id uuid, problem text)
language sql
stable
security definer
set search_path = ''
as $$
    select
        profile.id,
        null::uuid,
        format('balance is %s, ledger says %s', profile.credits, coalesce(ledger.balance, 0))
    from public.users_profile as profile
    left join lateral (
        select sum(
            case
                when logs.action in ('grant', 'release', 'remainder', 'refund') then logs.credits_used
                when logs.action = 'hold' then -logs.credits_used
                else 0
            end
        ) as balance
        from public.usage_logs as logs
        where logs.user_id = profile.id
    ) as ledger on true
    where profile.credits is distinct from coalesce(ledger.balance, 0)

    union all

    select
        coalesce(task.user_id, entry.user_id),
        coalesce(task.id, entry.result_id),
        format('task is %s, ledger says %s', coalesce(task.status::text, 'deleted'), coalesce(entry.actions, 'nothing'))
    from public.segmentation_results as task
    full join (
        select
            logs.user_id,
            logs.result_id,
            string_agg(format('%s %s', logs.action, logs.credits_used), ', ' order by logs.id) as actions,
            count(*) filter (where logs.action = 'hold') as holds,
            count(*) filter (where logs.action in ('capture', 'release')) as settlements,
            coalesce(sum(logs.credits_used) filter (where logs.action = 'hold'), 0) as held,
            coalesce(sum(logs.credits_used) filter (where logs.action = 'capture'), 0) as captured,
            coalesce(sum(logs.credits_used) filter (where logs.action in ('release', 'remainder')), 0) as returned,
            coalesce(sum(logs.credits_used) filter (where logs.action = 'refund'), 0) as refunded
        from public.usage_logs as logs
        where logs.result_id is not null
        group by logs.user_id, logs.result_id
    ) as entry on task.id = entry.result_id and task.user_id = entry.user_id
    where not coalesce(
        entry.holds = 1
        and (task.id is null or entry.held = task.cost)
        and entry.refunded <= entry.captured
        and case
            when task.status in ('pending', 'processing') then entry.settlements = 0 and entry.returned = 0
            else
                entry.settlements = 1
                and entry.captured + entry.returned = entry.held
                and (task.id is null or entry.captured = task.charged)
        end,
        false
    );
$$;
comment on function segmentation.ledger_mismatches is
'Users whose balance is not the sum of their ledger, and tasks whose hold was not settled just once.';
revoke execute on function segmentation.ledger_mismatches from public;
grant execute on function segmentation.ledger_mismatches to service_role;

create function public.ledger_mismatches()
returns table (user_id uuid, result_id uuid, problem text)
language sql
stable
security invoker
set search_path = ''
as $$
    select * from segmentation.ledger_mismatches();
$$;
comment on function public.ledger_mismatches is
'Operators, hourly: users whose balance is not their ledger''s sum, tasks not settled just once. No row: all is well.';
revoke execute on function public.ledger_mismatches from public, anon, authenticated, service_role;
grant execute on function public.ledger_mismatches to service_role;
