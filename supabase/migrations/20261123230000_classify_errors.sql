-- Whose fault an error is, and what it costs: the rest of the table in `contracts/errors.py`.

alter table segmentation.error_codes
add column fault text not null default 'ours',
add column refund text not null default 'all',
add constraint error_codes_fault_known check (fault in ('user', 'ours')),
add constraint error_codes_refund_known check (refund in ('all', 'uncomputed'));
comment on column segmentation.error_codes.fault is 'Who has to do something about it: user or ours.';
comment on column segmentation.error_codes.refund is
'What is given back when a task ends with it: all, or all but what was computed.';

update segmentation.error_codes
set fault = 'user', refund = 'uncomputed'
where code in ('invalid_image', 'source_not_found', 'prompt_too_long');

update segmentation.error_codes
set message = 'The picture needs more GPU memory than any machine online has. Send a smaller one.'
where code = 'out_of_memory';

insert into segmentation.error_codes (code, retryable, fault, refund, message)
values
(
    'prompt_invalid', false, 'user', 'uncomputed',
    'A prompt does not fit its picture. Boxes are in pixels, inside the upright picture.'
);

insert into segmentation.error_codes (code, retryable, message)
values
('no_capable_worker', true, 'No machine that can do this task is online. It waits until one comes.'),
('expired', false, 'The task still waited after its `deadline_seconds`. Nothing was charged.');
