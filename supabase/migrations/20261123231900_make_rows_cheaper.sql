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
