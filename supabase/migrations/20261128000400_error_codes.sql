-- The codes that a task may carry. `contracts/errors.py` says the same; a test keeps the two equal.

create table segmentation.error_codes (
    code text primary key,
    retryable boolean not null,
    fault text not null default 'ours',
    refund text not null default 'all',
    message text not null,

    constraint error_codes_code_is_snake_case check (code ~ '^[a-z]+(_[a-z]+)*$'),
    constraint error_codes_fault_known check (fault in ('user', 'ours')),
    constraint error_codes_refund_known check (refund in ('all', 'uncomputed')),
    constraint error_codes_message_not_empty check (message <> '')
);
comment on table segmentation.error_codes is 'Why a task or an attempt can fail. Only migrations change it.';
comment on column segmentation.error_codes.retryable is 'May another attempt succeed?';
comment on column segmentation.error_codes.fault is 'Whose fault it is: user or ours.';
comment on column segmentation.error_codes.refund is
'What is given back when a task ends with it: all, or all but what was computed.';
comment on column segmentation.error_codes.message is 'One sentence for the user; copied to the failed task.';

alter table segmentation.error_codes enable row level security;
create policy "Nobody reads error codes but functions" on segmentation.error_codes
for select to authenticated
using (false);

insert into segmentation.error_codes (code, retryable, fault, refund, message)
values
(
    'invalid_image', false, 'user', 'uncomputed',
    'The picture is damaged or cut off. Export it again and upload it.'
),
(
    'source_not_found', false, 'user', 'uncomputed',
    'No upload of yours has that image_url. Upload the picture first.'
),
(
    'prompt_too_long', false, 'user', 'uncomputed',
    'A text prompt may have at most 32 tokens. Use a short noun phrase.'
),
(
    'prompt_invalid', false, 'user', 'uncomputed',
    'A prompt does not fit its picture. Boxes are in pixels, inside the upright picture.'
),
('model_unavailable', true, 'ours', 'all', 'No model is ready on the worker. The task is tried again.'),
(
    'out_of_memory', true, 'ours', 'all',
    'The picture needs more GPU memory than any machine online has. Send a smaller one.'
),
('pipeline_failed', true, 'ours', 'all', 'The model failed on this picture. The task is tried again.'),
('storage_unavailable', true, 'ours', 'all', 'The object store did not answer. The task is tried again.'),
('no_capable_worker', true, 'ours', 'all', 'No machine that can do this task is online. It waits until one comes.'),
('lease_expired', true, 'ours', 'all', 'The worker fell silent. The task is tried again.'),
('deadline_exceeded', true, 'ours', 'all', 'The attempt outlived its hard deadline.'),
('expired', false, 'ours', 'all', 'The task still waited after its `deadline_seconds`. Nothing was charged.'),
('internal', true, 'ours', 'all', 'Something failed on our side. Quote `meta.request_id`.');
