-- What each row pays for at each of its steps: less.

-- A regular expression per user is compiled for nearly every row, since Postgres keeps 32 of them.
alter table public.segmentation_results
drop constraint segmentation_results_source_is_own_upload,
add constraint segmentation_results_source_is_own_upload check (
    starts_with(source_image_url, 'uploads/' || user_id || '/')
    and substr(source_image_url, 46) ~ '^[^/[:cntrl:]]+$'
    and strpos(source_image_url, '..') = 0
    and char_length(source_image_url) <= 512
);

-- Most rows have neither: they need not stand in the index.
drop index public.segmentation_results_by_project;
create index segmentation_results_by_project on public.segmentation_results (project_id, user_id, created_at desc)
where project_id is not null;
drop index segmentation.attempts_by_error_code;
create index attempts_by_error_code on segmentation.attempts (error_code)
where error_code is not null;
drop index segmentation.attempts_by_machine;
create index attempts_by_machine on segmentation.attempts (machine_id, claimed_at desc)
where machine_id is not null;

-- Two statements instead of three, for every word of a worker.
create or replace function segmentation.lock_attempt(p_token bigint)
returns segmentation.attempts
language plpgsql
security invoker
set search_path = ''
as $$
declare
    attempt segmentation.attempts;
begin
    perform segmentation.require_worker();
    perform 1
    from public.segmentation_results as results
    where results.id = (
        select attempts.result_id from segmentation.attempts
        where
            attempts.token = p_token
            -- Tokens can be guessed, so a machine holds only what it has claimed itself.
            and (attempts.machine_id is not distinct from auth.uid() or segmentation.is_operator())
    )
    for update;
    if found then
        -- Read only now that no other transition can run beside us.
        select * into attempt from segmentation.attempts where token = p_token;
    end if;
    return attempt;
end;
$$;
