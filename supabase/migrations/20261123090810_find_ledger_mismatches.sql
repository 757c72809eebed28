-- The invariant of the money, as a query: no row means that all is well.

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
                when logs.action in ('grant', 'release', 'refund') then logs.credits_used
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
            string_agg(logs.action::text, ' ' order by logs.action) filter (where logs.action <> 'refund') as actions,
            min(logs.credits_used) as least_credits,
            max(logs.credits_used) as most_credits
        from public.usage_logs as logs
        where logs.result_id is not null
        group by logs.user_id, logs.result_id
    ) as entry on task.id = entry.result_id and task.user_id = entry.user_id
    where not coalesce(
        entry.least_credits = entry.most_credits
        and (task.id is null or entry.most_credits = task.cost)
        and case
            when task.id is null then entry.actions in ('hold capture', 'hold release')
            when task.status in ('pending', 'processing') then entry.actions = 'hold'
            when task.status = 'done' then entry.actions = 'hold capture'
            else entry.actions = 'hold release'
        end,
        false
    );
$$;
comment on function segmentation.ledger_mismatches is
'Users whose balance is not the sum of their ledger, and tasks whose hold was not settled just once.';
revoke execute on function segmentation.ledger_mismatches from public;
grant execute on function segmentation.ledger_mismatches to service_role;
