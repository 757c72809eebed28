-- How results are found, and who may see them.

-- Read by claim_tasks and queue_position, front to back.
create index segmentation_results_claimable on public.segmentation_results (run_after, id)
where status = 'pending';
-- Read by GET /api/v1/results (newest first), and by the cascade from users_profile.
create index segmentation_results_by_user on public.segmentation_results (user_id, created_at desc, id desc);
-- Read by GET /api/v1/results?project_id=, and by the foreign key to projects.
create index segmentation_results_by_project on public.segmentation_results (project_id, user_id, created_at desc);
-- Read by submit_task: a key stands for one row of its user.
create unique index segmentation_results_one_per_idempotency_key
on public.segmentation_results (user_id, idempotency_key)
where idempotency_key is not null;
-- Read by an operator who counts failures, and by the foreign key to error_codes.
create index segmentation_results_by_error_code on public.segmentation_results (error_code)
where error_code is not null;

create trigger segmentation_results_touch_updated_at
before update on public.segmentation_results
for each row execute function segmentation.touch_updated_at();

alter table public.segmentation_results enable row level security;
revoke all on public.segmentation_results from anon, authenticated, service_role;
grant select on public.segmentation_results to authenticated, service_role;
grant insert (project_id, source_image_url, text_prompt, prompts, options, idempotency_key, request_hash)
on public.segmentation_results to authenticated;

create policy "Users read their own results" on public.segmentation_results
for select to authenticated
using ((select auth.uid()) = user_id);

create policy "Users submit tasks of their own" on public.segmentation_results
for insert to authenticated
with check ((select auth.uid()) = user_id);
