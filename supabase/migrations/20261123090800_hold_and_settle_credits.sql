-- Money: each step writes its ledger row and moves the balance in one transaction.
--
-- Lock order, here and everywhere: first the task's row, then the profile's.

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

create function segmentation.capture_credits(p_task public.segmentation_results)
returns void
language sql
security invoker
set search_path = ''
as $$
    insert into public.usage_logs (user_id, action, credits_used, result_id)
    values (p_task.user_id, 'capture', p_task.cost, p_task.id);
$$;
comment on function segmentation.capture_credits is 'Spend the hold of a task that is done.';
revoke execute on function segmentation.capture_credits from public;

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
