-- The codes that a task may carry. `contracts/errors.py` says the same; a test keeps the two equal.

create table segmentation.error_codes (
    code text primary key,
    retryable boolean not null,
    message text not null,

    constraint error_codes_code_is_snake_case check (code ~ '^[a-z]+(_[a-z]+)*$'),
    constraint error_codes_message_not_empty check (message <> '')
);
comment on table segmentation.error_codes is 'Why a task or an attempt can fail. Only migrations change it.';
comment on column segmentation.error_codes.retryable is 'May another attempt succeed?';
comment on column segmentation.error_codes.message is 'One sentence for the user; copied to the failed task.';

alter table segmentation.error_codes enable row level security;

create policy "Nobody reads error codes but functions" on segmentation.error_codes
for select to authenticated
using (false);
