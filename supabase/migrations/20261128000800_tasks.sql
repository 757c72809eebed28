-- Tasks and their results: the queue, as the apps know it.
--
--   pending --claim--> processing --complete--> done
--     ^                    |-------fail-------> failed
--     +-------retry--------+
--   pending, processing --cancel--> cancelled
--
-- Users insert pending rows and read their own. Only functions move a row on.

create type public.task_status as enum (
    'pending', -- waits for run_after, then for a worker
    'processing', -- an open attempt holds the lease
    'done', -- the masks are stored; final
    'failed', -- given up; final
    'cancelled' -- withdrawn by its owner; final
);
comment on type public.task_status is 'Where a task stands. Done, failed and cancelled are final.';

create table public.segmentation_results (
    id uuid primary key default gen_random_uuid(),
    user_id uuid not null,
    project_id uuid,
    kind text not null default 'image',
    source_image_url text not null,
    text_prompt text,
    prompts jsonb not null default '[]',
    options jsonb not null default '{}',
    status public.task_status not null default 'pending',
    progress real not null default 0,
    mask_image_url text,
    overlay_image_url text,
    manifest_url text,
    instance_count integer,
    summary jsonb,
    error_code text,
    error_message text,
    cost integer not null,
    computed integer not null default 0,
    charged integer,
    attempt_count smallint not null default 0,
    max_attempts smallint not null default 3,
    needs jsonb not null default '{}',
    queue_class_id integer not null,
    virtual_start bigint not null default 0,
    deadline_seconds integer,
    expires_at timestamptz,
    run_after timestamptz not null default now(),
    created_at timestamptz not null default now(),
    started_at timestamptz,
    finished_at timestamptz,
    updated_at timestamptz not null default now(),

    constraint segmentation_results_owner_has_a_profile
    foreign key (user_id) references public.users_profile (id) on delete cascade,
    constraint segmentation_results_project_has_same_owner
    foreign key (project_id, user_id) references public.projects (id, user_id) on delete set null (project_id),
    constraint segmentation_results_error_code_known
    foreign key (error_code) references segmentation.error_codes (code),
    constraint segmentation_results_kind_known check (kind in ('image', 'video')),
    -- No regular expression with the user in it: Postgres caches 32, and would compile one for each row.
    constraint segmentation_results_source_is_own_upload check (
        starts_with(source_image_url, 'uploads/' || user_id || '/')
        and substr(source_image_url, 46) ~ '^[^/[:cntrl:]]+$'
        and strpos(source_image_url, '..') = 0
        and char_length(source_image_url) <= 512
    ),
    constraint segmentation_results_prompts_one_to_sixteen check (
        case when jsonb_typeof(prompts) = 'array' then jsonb_array_length(prompts) between 1 and 16 else false end
    ),
    constraint segmentation_results_options_is_object check (jsonb_typeof(options) = 'object'),
    constraint segmentation_results_needs_is_object check (jsonb_typeof(needs) = 'object'),
    constraint segmentation_results_progress_is_a_share check (progress between 0 and 1),
    constraint segmentation_results_cost_not_negative check (cost >= 0),
    constraint segmentation_results_computed_within_cost check (computed between 0 and cost),
    constraint segmentation_results_charged_within_cost check (charged between 0 and cost),
    constraint segmentation_results_charged_when_final check ((charged is not null) = (finished_at is not null)),
    constraint segmentation_results_attempts_within_limit check (attempt_count between 0 and max_attempts),
    constraint segmentation_results_deadline_within_a_week check (deadline_seconds between 1 and 604800),
    constraint segmentation_results_finished_matches_status check (
        (finished_at is not null) = (status in ('done', 'failed', 'cancelled'))
    ),
    constraint segmentation_results_started_when_worked_on check (
        status not in ('processing', 'done') or started_at is not null
    ),
    constraint segmentation_results_done_has_manifest check (
        (status = 'done') = (manifest_url is not null and instance_count is not null)
    ),
    constraint segmentation_results_only_done_has_masks check (
        status = 'done' or num_nonnulls(mask_image_url, overlay_image_url, instance_count, summary) = 0
    ),
    constraint segmentation_results_instance_count_not_negative check (instance_count >= 0),
    -- A published row over 1 MiB reaches Realtime without its content.
    constraint segmentation_results_summary_is_small check (octet_length(summary::text) <= 262144),
    constraint segmentation_results_failed_has_reason check (
        case status
            when 'failed' then num_nonnulls(error_code, error_message) = 2
            -- Cancelled by the clock carries a code, by its owner none.
            when 'cancelled' then num_nonnulls(error_code, error_message) in (0, 2)
            else num_nonnulls(error_code, error_message) = 0
        end
    )
)
-- Rows are updated a few times each and then rest: room for HOT updates, early vacuum.
with (fillfactor = 80, autovacuum_vacuum_scale_factor = 0.02);
comment on table public.segmentation_results is
'One request to segment one picture, and its result. Only functions move it.';
comment on column public.segmentation_results.source_image_url is 'Object key: uploads/{user}/{sha256}.{extension}.';
comment on column public.segmentation_results.text_prompt is 'The short form of one text prompt, as it was sent.';
comment on column public.segmentation_results.prompts is '1-16 of contracts.prompts.Prompt.';
comment on column public.segmentation_results.options is
'contracts.prompts.SegmentOptions; what is absent has its default.';
comment on column public.segmentation_results.progress is '0 to 1, of the current attempt.';
comment on column public.segmentation_results.manifest_url is
'Object key of the canonical result; names the winning attempt.';
comment on column public.segmentation_results.mask_image_url is 'Object key of the label map.';
comment on column public.segmentation_results.overlay_image_url is 'Object key of the picture with its masks drawn in.';
comment on column public.segmentation_results.cost is 'Prompts x passes: credits held, then captured or released.';
comment on column public.segmentation_results.computed is 'Credits'' worth that the current attempt has computed.';
comment on column public.segmentation_results.charged is 'Credits spent on it; set when it becomes final.';
comment on column public.segmentation_results.attempt_count is
'Attempts counted at the claim, so that a poison task ends.';
comment on column public.segmentation_results.needs is
'What it asks of a machine: model_revision, dtype, memory_mb, pixels.';
comment on column public.segmentation_results.queue_class_id is
'Its needs, and the memory that it turned out to need. No foreign key: classes are never deleted.';
comment on column public.segmentation_results.virtual_start is 'Where it stands in the fair order; kept over retries.';
comment on column public.segmentation_results.deadline_seconds is
'Not begun within that many seconds, it is cancelled and costs nothing. Begun once, it may wait again.';
comment on column public.segmentation_results.expires_at is 'created_at + deadline_seconds.';
comment on column public.segmentation_results.run_after is 'Due from then on: a retry waits until then.';
comment on column public.segmentation_results.started_at is 'First claim.';

-- Read by GET /api/v1/results (newest first), and by the cascade from users_profile.
create index segmentation_results_by_user on public.segmentation_results (user_id, created_at desc, id desc);
-- Read by GET /api/v1/results?project_id=, and by the foreign key to projects. Most rows have none.
create index segmentation_results_by_project on public.segmentation_results (project_id, user_id, created_at desc)
where project_id is not null;
-- Read by pick_tasks and queue_status: a user's pending tasks of a class, in order.
create index segmentation_results_in_queue
on public.segmentation_results (user_id, queue_class_id, virtual_start, id)
where status = 'pending';
-- Read by backlog_end: a user's last pending task of a kind.
create index segmentation_results_backlog on public.segmentation_results (user_id, kind, virtual_start)
where status = 'pending';
-- Read by orphaned_objects. By hash, because the keys are long and only ever compared whole.
create index segmentation_results_by_source on public.segmentation_results using hash (source_image_url);
-- Read by expire_tasks.
create index segmentation_results_expiring on public.segmentation_results (expires_at)
where status = 'pending' and started_at is null and expires_at is not null;
-- Read by prune_results, oldest first.
create index segmentation_results_by_end on public.segmentation_results (finished_at)
where finished_at is not null;
-- Read by an operator who counts failures, and by the foreign key to error_codes.
create index segmentation_results_by_error_code on public.segmentation_results (error_code)
where error_code is not null;

create trigger segmentation_results_touch_updated_at
before update on public.segmentation_results
for each row execute function segmentation.touch_updated_at();

alter table public.segmentation_results enable row level security;
revoke all on public.segmentation_results from anon, authenticated, service_role;
grant select on public.segmentation_results to authenticated, service_role;
grant insert (
    project_id, source_image_url, text_prompt, prompts, options, deadline_seconds, needs
) on public.segmentation_results to authenticated;
create policy "Users read their own results" on public.segmentation_results
for select to authenticated
using ((select auth.uid()) = user_id);
create policy "Users submit tasks of their own" on public.segmentation_results
for insert to authenticated
with check ((select auth.uid()) = user_id);

-- For apps that subscribe to the table itself; row-level security decides what they hear.
alter publication supabase_realtime add table public.segmentation_results;
