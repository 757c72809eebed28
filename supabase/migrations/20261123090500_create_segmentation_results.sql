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
    idempotency_key text,
    request_hash text,
    attempt_count smallint not null default 0,
    max_attempts smallint not null default 3,
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
    constraint segmentation_results_kind_known check (kind in ('image')),
    constraint segmentation_results_source_is_own_upload check (
        source_image_url ~ ('^uploads/' || user_id || '/[^/[:cntrl:]]+$')
        and strpos(source_image_url, '..') = 0
        and char_length(source_image_url) <= 512
    ),
    constraint segmentation_results_prompts_one_to_sixteen check (
        case when jsonb_typeof(prompts) = 'array' then jsonb_array_length(prompts) between 1 and 16 else false end
    ),
    constraint segmentation_results_options_is_object check (jsonb_typeof(options) = 'object'),
    constraint segmentation_results_progress_is_a_share check (progress between 0 and 1),
    constraint segmentation_results_cost_not_negative check (cost >= 0),
    constraint segmentation_results_idempotency_key_length check (char_length(idempotency_key) between 1 and 255),
    constraint segmentation_results_attempts_within_limit check (attempt_count between 0 and max_attempts),
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
        (status = 'failed') = (error_code is not null and error_message is not null)
    )
)
-- Rows are updated a few times each and then rest: room for HOT updates, early vacuum.
with (fillfactor = 80, autovacuum_vacuum_scale_factor = 0.02);
comment on table public.segmentation_results is
'One request to segment one picture, and its result. Only functions move it.';
comment on column public.segmentation_results.source_image_url is 'Object key: uploads/{user}/{sha256}.{extension}.';
comment on column public.segmentation_results.text_prompt is 'The short form of one text prompt, as it was sent.';
comment on column public.segmentation_results.prompts is '1-16 of contracts.prompts.Prompt. One credit each.';
comment on column public.segmentation_results.options is
'contracts.prompts.SegmentOptions; what is absent has its default.';
comment on column public.segmentation_results.progress is '0 to 1, of the current attempt.';
comment on column public.segmentation_results.manifest_url is
'Object key of the canonical result; names the winning attempt.';
comment on column public.segmentation_results.mask_image_url is 'Object key of the label map.';
comment on column public.segmentation_results.overlay_image_url is 'Object key of the picture with its masks drawn in.';
comment on column public.segmentation_results.cost is 'Credits held, then captured or released.';
comment on column public.segmentation_results.idempotency_key is 'The client''s key: same user and key, same row.';
comment on column public.segmentation_results.request_hash is 'What the key stood for; another hash is a conflict.';
comment on column public.segmentation_results.attempt_count is
'Attempts counted at the claim, so that a poison task ends.';
comment on column public.segmentation_results.run_after is 'Due from then on; also its place in the queue.';
comment on column public.segmentation_results.started_at is 'First claim.';
