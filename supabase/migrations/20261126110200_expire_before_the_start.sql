-- `deadline_seconds` is for the start: what was begun in time and came back, by a soft stop or for
-- another try, does not expire while it waits again.

drop index public.segmentation_results_expiring;
-- Read by expire_tasks.
create index segmentation_results_expiring on public.segmentation_results (expires_at)
where status = 'pending' and started_at is null and expires_at is not null;

create or replace function segmentation.expire_tasks(p_limit integer)
returns integer
language plpgsql
security invoker
set search_path = ''
as $$
declare
    late record;
    expired integer := 0;
begin
    for late in
        select results.id from public.segmentation_results as results
        where results.status = 'pending' and results.started_at is null and results.expires_at <= now()
        order by results.expires_at
        limit p_limit
        for update skip locked
    loop
        perform segmentation.close_task(late.id, 'cancelled', 'expired');
        expired := expired + 1;
    end loop;
    return expired;
end;
$$;
comment on function segmentation.expire_tasks is
'Cancel tasks that were never begun and are past their deadline_seconds; how many.';
comment on column public.segmentation_results.deadline_seconds is
'Not begun within that many seconds, it is cancelled and costs nothing. Begun once, it may wait again.';
