-- report_progress says also how many credits' worth is computed: what a cancellation costs.

drop function public.report_progress;
drop function segmentation.report_progress;

create function segmentation.report_progress(p_token bigint, p_progress double precision, p_computed integer)
returns text
language plpgsql
security definer
set search_path = ''
as $$
declare
    attempt segmentation.attempts := segmentation.lock_attempt(p_token);
    worth integer := (select cost from public.segmentation_results as results where results.id = attempt.result_id);
begin
    if attempt.token is null or attempt.ended_at is not null then
        return 'stale';
    end if;
    if not coalesce(p_progress between 0 and 1, false) or p_computed not between 0 and worth then
        perform segmentation.refuse(
            400, 'invalid_request', format('Progress lies between 0 and 1, computed between 0 and %s.', worth)
        );
    end if;
    -- Reports may overtake each other; nothing goes back within an attempt.
    update public.segmentation_results as results
    set
        progress = greatest(results.progress, p_progress::real),
        computed = greatest(results.computed, p_computed)
    where
        results.id = attempt.result_id
        and (results.progress < p_progress::real or results.computed < p_computed);
    return 'ok';
end;
$$;
comment on function segmentation.report_progress is 'See public.report_progress.';
revoke execute on function segmentation.report_progress from public;
grant execute on function segmentation.report_progress to authenticated, service_role;

create function public.report_progress(p_token bigint, p_progress double precision, p_computed integer default null)
returns text
language sql
security invoker
set search_path = ''
as $$
    select segmentation.report_progress(p_token, p_progress, p_computed);
$$;
comment on function public.report_progress is
'Workers: how far the attempt is, 0 to 1, and how many credits'' worth is computed: ok or stale.';
revoke execute on function public.report_progress from public, anon, authenticated, service_role;
grant execute on function public.report_progress to authenticated, service_role;
