-- Credits from outside, and given back: gifts, purchases, refunds. A payment provider repeats its
-- events, and an operator his clicks, so a purchase counts once per event and a refund once per task.

create function segmentation.grant_credits(p_user_id uuid, p_credits integer, p_reason text)
returns integer
language plpgsql
security definer
set search_path = ''
as $$
begin
    perform segmentation.require_operator();
    if p_credits is null or p_credits < 1 then
        perform segmentation.refuse(400, 'invalid_request', 'Grant at least one credit.');
    end if;
    return segmentation.add_credits(p_user_id, p_credits, p_reason);
end;
$$;
comment on function segmentation.grant_credits is 'See public.grant_credits.';
revoke execute on function segmentation.grant_credits from public;
grant execute on function segmentation.grant_credits to service_role;

create function public.grant_credits(p_user_id uuid, p_credits integer, p_reason text)
returns integer
language sql
security invoker
set search_path = ''
as $$
    select segmentation.grant_credits(p_user_id, p_credits, p_reason);
$$;
comment on function public.grant_credits is 'Operators: give a user credits; the new balance.';
revoke execute on function public.grant_credits from public, anon, authenticated, service_role;
grant execute on function public.grant_credits to service_role;

create function segmentation.top_up_credits(p_user_id uuid, p_credits integer, p_event_id text, p_reason text)
returns jsonb
language plpgsql
security definer
set search_path = ''
as $$
declare
    balance integer;
begin
    perform segmentation.require_operator();
    if not coalesce(p_credits >= 1 and char_length(p_event_id) between 1 and 255, false) then
        perform segmentation.refuse(400, 'invalid_request', 'Top up at least one credit, with an event id of 1 to 255 characters.');
    end if;
    if not exists (select 1 from public.users_profile where users_profile.id = p_user_id) then
        perform segmentation.refuse(404, 'not_found', 'No user has that id.');
    end if;
    insert into public.usage_logs (user_id, action, credits_used, event_id, reason)
    values (p_user_id, 'grant', p_credits, p_event_id, p_reason)
    on conflict (event_id) where event_id is not null do nothing;
    if found then
        update public.users_profile set credits = credits + p_credits where id = p_user_id
        returning credits into balance;
        return jsonb_build_object('answer', 'ok', 'credits', balance);
    end if;
    if not exists (
        select 1 from public.usage_logs as logs
        where logs.event_id = p_event_id and logs.user_id = p_user_id and logs.credits_used = p_credits
    ) then
        perform segmentation.refuse(422, 'idempotency_conflict', 'That event has topped up another user or another amount.');
    end if;
    select credits into balance from public.users_profile where id = p_user_id;
    return jsonb_build_object('answer', 'duplicate', 'credits', balance);
end;
$$;
comment on function segmentation.top_up_credits is 'See public.top_up_credits.';
revoke execute on function segmentation.top_up_credits from public;
grant execute on function segmentation.top_up_credits to service_role;

create function public.top_up_credits(
    p_user_id uuid, p_credits integer, p_event_id text, p_reason text default 'top-up'
)
returns jsonb
language sql
security invoker
set search_path = ''
as $$
    select segmentation.top_up_credits(p_user_id, p_credits, p_event_id, p_reason);
$$;
comment on function public.top_up_credits is
'Operators: add bought credits, once per outside event: {"answer": ok or duplicate, "credits": balance}.';
revoke execute on function public.top_up_credits from public, anon, authenticated, service_role;
grant execute on function public.top_up_credits to service_role;

create function segmentation.refund_task(p_result_id uuid, p_reason text, p_credits integer)
returns text
language plpgsql
security definer
set search_path = ''
as $$
declare
    spent public.usage_logs;
    amount integer;
begin
    perform segmentation.require_operator();
    select * into spent from public.usage_logs as logs
    where logs.result_id = p_result_id and logs.action = 'capture';
    if not found then
        perform segmentation.refuse(404, 'not_found', 'Nothing was charged for that task.');
    end if;
    amount := coalesce(p_credits, spent.credits_used);
    if amount not between 1 and spent.credits_used then
        perform segmentation.refuse(400, 'invalid_request', format('Refund 1 to %s credits.', spent.credits_used));
    end if;
    insert into public.usage_logs (user_id, action, credits_used, result_id, reason)
    values (spent.user_id, 'refund', amount, p_result_id, p_reason)
    on conflict (result_id) where action = 'refund' do nothing;
    if not found then
        return 'duplicate';
    end if;
    update public.users_profile set credits = credits + amount where id = spent.user_id;
    return 'ok';
end;
$$;
comment on function segmentation.refund_task is 'See public.refund_task.';
revoke execute on function segmentation.refund_task from public;
grant execute on function segmentation.refund_task to service_role;

create function public.refund_task(p_result_id uuid, p_reason text, p_credits integer default null)
returns text
language sql
security invoker
set search_path = ''
as $$
    select segmentation.refund_task(p_result_id, p_reason, p_credits);
$$;
comment on function public.refund_task is
'Operators: give back what a task was charged, all or in part, once: ok or duplicate.';
revoke execute on function public.refund_task from public, anon, authenticated, service_role;
grant execute on function public.refund_task to service_role;
