-- A hold may be spent in part: a video stopped early, a task cancelled half-way.

alter table public.segmentation_results
add column computed integer not null default 0,
add column charged integer;
comment on column public.segmentation_results.computed is 'Credits'' worth that the current attempt has computed.';
comment on column public.segmentation_results.charged is 'Credits spent on it; set when it becomes final.';

update public.segmentation_results
set charged = case when status = 'done' then cost else 0 end
where finished_at is not null;

alter table public.segmentation_results
add constraint segmentation_results_computed_within_cost check (computed between 0 and cost),
add constraint segmentation_results_charged_within_cost check (charged between 0 and cost),
add constraint segmentation_results_charged_when_final check ((charged is not null) = (finished_at is not null)),
drop constraint segmentation_results_failed_has_reason,
add constraint segmentation_results_failed_has_reason check (
    case status
        when 'failed' then num_nonnulls(error_code, error_message) = 2
        -- Cancelled by the clock carries a code, by its owner none.
        when 'cancelled' then num_nonnulls(error_code, error_message) in (0, 2)
        else num_nonnulls(error_code, error_message) = 0
    end
);

-- The rest of a hold comes back once.
create unique index usage_logs_one_remainder_per_task on public.usage_logs (result_id)
where action = 'remainder';

drop function segmentation.capture_credits;
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

create or replace function segmentation.close_task(
    p_id uuid, p_status public.task_status, p_error_code text default null
)
returns void
language plpgsql
security invoker
set search_path = ''
as $$
declare
    task public.segmentation_results;
    reason segmentation.error_codes;
begin
    select * into reason from segmentation.error_codes as codes where codes.code = p_error_code;
    update public.segmentation_results as results
    set
        status = p_status,
        finished_at = now(),
        blocked_by = null,
        error_code = reason.code,
        error_message = reason.message,
        -- Our faults cost nothing; a withdrawal, or a fault of the user's, costs what was computed.
        charged = case when reason.refund = 'all' then 0 else results.computed end
    where results.id = p_id
    returning * into task;
    perform segmentation.settle_credits(task);
end;
$$;
comment on function segmentation.close_task is
'Make a task final without a result: failed or cancelled. Gives back what its reason says.';
