-- Attempts: who works, or worked, on which task.
--
-- The open attempt of a task is the lease on it, and its token is the fencing token: every write by
-- a worker names it. Whatever takes a task away (reap, release, cancel, retry) ends the attempt, so
-- an old token never becomes good again. It comes from a sequence: a counter of attempts would
-- repeat itself after a release.

create sequence segmentation.tokens as bigint;
comment on sequence segmentation.tokens is 'Fencing tokens: rising, never used twice.';

create type segmentation.attempt_outcome as enum (
    'done', -- the masks are stored
    'failed', -- the worker said so; error_code tells why
    'released', -- given back unharmed; not counted
    'cancelled', -- the owner withdrew the task
    'lease_expired', -- the worker fell silent
    'deadline_exceeded' -- the worker kept renewing, but never came to an end
);
comment on type segmentation.attempt_outcome is 'How an attempt ended.';

create table segmentation.attempts (
    token bigint primary key default nextval('segmentation.tokens'),
    result_id uuid not null,
    user_id uuid not null,
    machine_id uuid,
    worker text not null,
    memory_mb integer,
    claimed_at timestamptz not null default now(),
    lease_expires_at timestamptz not null,
    deadline_at timestamptz not null,
    ended_at timestamptz,
    outcome segmentation.attempt_outcome,
    release_reason text,
    error_code text,
    error_detail text,
    timings jsonb,

    constraint attempts_is_at_a_result
    foreign key (result_id) references public.segmentation_results (id) on delete cascade,
    constraint attempts_is_by_a_machine
    foreign key (machine_id) references segmentation.machines (id) on delete set null,
    constraint attempts_error_code_known
    foreign key (error_code) references segmentation.error_codes (code),
    constraint attempts_worker_length check (char_length(worker) between 1 and 200),
    constraint attempts_lease_follows_claim check (lease_expires_at > claimed_at),
    constraint attempts_lease_within_deadline check (lease_expires_at <= deadline_at),
    constraint attempts_ended_has_outcome check ((ended_at is null) = (outcome is null)),
    constraint attempts_release_reason_known check (release_reason in ('stopping', 'unable')),
    constraint attempts_release_reason_when_released check (release_reason is null or outcome = 'released'),
    constraint attempts_failed_has_reason check (outcome <> 'failed' or error_code is not null)
);
comment on table segmentation.attempts is 'One worker''s try at one task. While open, it is the lease.';
comment on column segmentation.attempts.token is 'The fencing token.';
comment on column segmentation.attempts.user_id is 'The task''s owner, for the cap on tasks in flight.';
comment on column segmentation.attempts.machine_id is 'The machine that claimed it; null for the service role.';
comment on column segmentation.attempts.worker is 'Name of the listener process, for people.';
comment on column segmentation.attempts.memory_mb is 'GPU memory that the worker declared, in MiB.';
comment on column segmentation.attempts.lease_expires_at is
'The reaper may end it from then on; renewed by the worker.';
comment on column segmentation.attempts.deadline_at is 'No renewal reaches beyond it.';
comment on column segmentation.attempts.release_reason is
'Why it was handed back: a worker that stops, or a pipeline that is unable. Null: not released, or not said.';
comment on column segmentation.attempts.error_detail is 'For operators; never shown to users.';
comment on column segmentation.attempts.timings is 'What the worker measured, by stage, in milliseconds.';

-- One lease per task; also how cancel_task finds the open attempt.
create unique index attempts_one_open_per_task on segmentation.attempts (result_id)
where ended_at is null;
-- Read by reap_tasks, front to back.
create index attempts_by_lease on segmentation.attempts (lease_expires_at)
where ended_at is null;
-- Read by pick_tasks: how many tasks of a user are in work?
create index attempts_in_flight on segmentation.attempts (user_id)
where ended_at is null;
-- Read by queue_status: how long do attempts take?
create index attempts_by_end on segmentation.attempts (ended_at desc)
where outcome = 'done';
-- The history of one task (release_task counts in it), and the foreign key.
create index attempts_by_task on segmentation.attempts (result_id);
-- The history of one machine, and the foreign key.
create index attempts_by_machine on segmentation.attempts (machine_id, claimed_at desc)
where machine_id is not null;
-- Read by an operator who counts failures, and by the foreign key.
create index attempts_by_error_code on segmentation.attempts (error_code)
where error_code is not null;

alter table segmentation.attempts enable row level security;
create policy "Nobody reads attempts but functions" on segmentation.attempts
for select to authenticated
using (false);
