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
