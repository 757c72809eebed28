-- Queue classes: tasks that need the same of a machine are of the same class.
--
-- A worker looks only into the classes that it can do, so tasks for bigger machines never stand in
-- its way, and a video never stands before a picture. Needs are rounded up, so classes are few.

create table segmentation.queue_classes (
    id integer generated always as identity primary key,
    kind text not null,
    memory_mb integer not null,
    pixels integer not null,
    model_revision text,
    dtype text,

    constraint queue_classes_kind_known check (kind in ('image', 'video')),
    constraint queue_classes_memory_mb_not_negative check (memory_mb >= 0),
    constraint queue_classes_pixels_not_negative check (pixels >= 0),
    constraint queue_classes_one_per_need unique nulls not distinct (kind, memory_mb, pixels, model_revision, dtype)
);
comment on table segmentation.queue_classes is 'What the tasks of a class need of a machine. Never deleted.';
comment on column segmentation.queue_classes.memory_mb is 'GPU memory, MiB, rounded up by memory_class; 0: any.';
comment on column segmentation.queue_classes.pixels is 'Size of its pictures, rounded up; 0: not known.';

alter table segmentation.queue_classes enable row level security;
create policy "Nobody reads queue classes but functions" on segmentation.queue_classes
for select to authenticated
using (false);

insert into segmentation.queue_classes (kind, memory_mb, pixels) values ('image', 0, 0), ('video', 0, 0);

create function segmentation.can_do(p_capabilities jsonb, p_class segmentation.queue_classes)
returns boolean
language sql
immutable
security invoker
set search_path = ''
as $$
    select
        coalesce(p_capabilities -> 'kinds', '["image"]') ? p_class.kind
        and coalesce((p_capabilities ->> 'memory_mb')::numeric, 0) >= p_class.memory_mb
        and coalesce((p_capabilities ->> 'max_pixels')::numeric >= p_class.pixels, true)
        and coalesce(p_capabilities ->> 'model_revision' = p_class.model_revision, p_class.model_revision is null)
        and coalesce(p_capabilities ->> 'dtype' = p_class.dtype, p_class.dtype is null);
$$;
comment on function segmentation.can_do is 'Is a machine with these capabilities enough for the tasks of that class?';
revoke execute on function segmentation.can_do from public;

create function segmentation.blocked_reason(p_class segmentation.queue_classes)
returns text
language sql
stable
security invoker
set search_path = ''
as $$
    select 'no_capable_worker'
    where not exists (
        select 1 from segmentation.workers
        where segmentation.is_online(workers) and segmentation.can_do(workers.capabilities, p_class)
    );
$$;
comment on function segmentation.blocked_reason is
'Why no task of that class can start now, as an error code; null: a worker online can do it.';
revoke execute on function segmentation.blocked_reason from public;

create function segmentation.memory_class(p_memory_mb integer)
returns integer
language sql
immutable
security invoker
set search_path = ''
as $$
    -- What cards of 8, 16, 24, 32, 48, 80 and 141 GiB have left, at least: up to a tenth goes to ECC
    -- and the driver. The last is more than any card has.
    select coalesce(min(class), 0)
    from unnest(array[7372, 14745, 22118, 29491, 44236, 73728, 129945, 1048576]) as class
    where p_memory_mb > 0 and class >= p_memory_mb;
$$;
comment on function segmentation.memory_class is
'GPU memory that is needed, MiB, rounded up to one of eight; 0 stays 0.';
revoke execute on function segmentation.memory_class from public;

create function segmentation.queue_class(
    p_kind text, p_memory_mb integer, p_pixels integer, p_model_revision text, p_dtype text
)
returns segmentation.queue_classes
language plpgsql
security invoker
set search_path = ''
as $$
declare
    found_class segmentation.queue_classes;
begin
    loop
        select * into found_class from segmentation.queue_classes as classes
        where
            classes.kind = p_kind
            and classes.memory_mb = segmentation.memory_class(p_memory_mb)
            and classes.pixels = p_pixels
            and classes.model_revision is not distinct from p_model_revision
            and classes.dtype is not distinct from p_dtype;
        if found then
            return found_class;
        end if;
        insert into segmentation.queue_classes (kind, memory_mb, pixels, model_revision, dtype)
        values (p_kind, segmentation.memory_class(p_memory_mb), p_pixels, p_model_revision, p_dtype)
        on conflict do nothing;
    end loop;
end;
$$;
comment on function segmentation.queue_class is 'The class of such tasks, made if it is missing; memory is rounded up.';
revoke execute on function segmentation.queue_class from public;

create function segmentation.queue_class_of_needs(p_kind text, p_needs jsonb)
returns segmentation.queue_classes
language plpgsql
security invoker
set search_path = ''
as $$
declare
    pixels integer := coalesce((p_needs ->> 'pixels')::integer, 0);
    revision text := p_needs ->> 'model_revision';
begin
    -- Otherwise users could make classes without end.
    if revision is not null and not exists (
        select 1 from segmentation.workers where workers.capabilities ->> 'model_revision' = revision
    ) then
        perform segmentation.refuse(400, 'invalid_request', format('No machine has the model revision %L.', revision));
    end if;
    return segmentation.queue_class(
        p_kind,
        coalesce((p_needs ->> 'memory_mb')::integer, 0),
        -- 12 and 25 megapixels are what cameras have.
        coalesce((
            select min(size) from unnest(array[0, 4000000, 12000000, 25000000, 50000000]) as size
            where size >= pixels
        ), 2147483647),
        revision,
        p_needs ->> 'dtype'
    );
end;
$$;
comment on function segmentation.queue_class_of_needs is
'The class of a task that asks for that; PT400 for a model revision that no worker has ever declared.';
revoke execute on function segmentation.queue_class_of_needs from public;
