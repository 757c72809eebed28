-- Who is online, and what they can do: each claim says so.

create table segmentation.workers (
    id bigint generated always as identity primary key,
    machine_id uuid,
    worker text not null,
    capabilities jsonb not null,
    last_seen_at timestamptz not null default now(),

    constraint workers_runs_on_a_machine
    foreign key (machine_id) references segmentation.machines (id) on delete cascade,
    constraint workers_one_per_name unique nulls not distinct (machine_id, worker),
    constraint workers_worker_length check (char_length(worker) between 1 and 200),
    constraint workers_capabilities_is_object check (jsonb_typeof(capabilities) = 'object')
);
comment on table segmentation.workers is 'Listeners that have asked for work, and what they said they can do.';
comment on column segmentation.workers.machine_id is 'Null: it works with the service key.';
comment on column segmentation.workers.capabilities is
'kinds, memory_mb, max_pixels, model_revision, dtype, slots; what the operator said of the machine goes first.';
comment on column segmentation.workers.last_seen_at is 'Last claim or renewal, to about ten seconds.';

alter table segmentation.workers enable row level security;

create policy "Nobody reads workers but functions" on segmentation.workers
for select to authenticated
using (false);

alter table segmentation.attempts
add column user_id uuid,
add column lead_token bigint,
add column memory_mb integer;
comment on column segmentation.attempts.user_id is 'The task''s owner, for the cap on pictures in flight.';
comment on column segmentation.attempts.lead_token is
'The attempt at the same picture that this one rides with; its own token: it leads.';
comment on column segmentation.attempts.memory_mb is 'GPU memory that the worker declared, in MiB.';

update segmentation.attempts
set lead_token = token, user_id = results.user_id
from public.segmentation_results as results
where results.id = attempts.result_id;

alter table segmentation.attempts
alter column user_id set not null,
alter column lead_token set not null,
add constraint attempts_rides_with_an_earlier_one check (lead_token <= token);

-- Read by claim_tasks: how many pictures of a user are in work?
create index attempts_in_flight on segmentation.attempts (user_id, lead_token)
where ended_at is null;
-- Read by task_outlook: how long do attempts take?
create index attempts_by_end on segmentation.attempts (ended_at desc)
where outcome = 'done';

create function segmentation.are_capabilities(p_capabilities jsonb)
returns boolean
language sql
immutable
security invoker
set search_path = ''
as $$
    select coalesce(jsonb_path_match(p_capabilities, '
        $.type() == "object"
        && (!exists($.kinds) || ($.kinds.type() == "array" && $.kinds.size() <= 8))
        && (!exists($.memory_mb) || ($.memory_mb.type() == "number" && $.memory_mb >= 0 && $.memory_mb < 2147483648))
        && (!exists($.max_pixels) || ($.max_pixels.type() == "number" && $.max_pixels >= 0 && $.max_pixels < 2147483648))
        && (!exists($.slots) || ($.slots.type() == "number" && $.slots >= 1 && $.slots <= 1000))
        && (!exists($.model_revision) || $.model_revision == null || $.model_revision.type() == "string")
        && (!exists($.dtype) || $.dtype == null || $.dtype.type() == "string")
    ', silent => true), false) and octet_length(p_capabilities::text) <= 4096;
$$;
comment on function segmentation.are_capabilities is
'May a worker say that of itself? Keys that nobody knows yet are kept and ignored.';
revoke execute on function segmentation.are_capabilities from public;

create function segmentation.is_online(p_worker segmentation.workers)
returns boolean
language sql
stable
security invoker
set search_path = ''
as $$
    select
        -- An idle listener asks every 15 seconds at the latest, a busy one renews its leases.
        p_worker.last_seen_at > now() - interval '2 minutes'
        and (
            p_worker.machine_id is null
            or exists (
                select 1 from segmentation.machines
                where machines.id = p_worker.machine_id and machines.enabled
            )
        );
$$;
comment on function segmentation.is_online is 'Is a worker there, on a machine that may work?';
revoke execute on function segmentation.is_online from public;
