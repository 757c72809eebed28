-- Lanes: tasks that need the same of a machine wait in the same lane.
--
-- A worker looks only into lanes that it can do, so tasks for bigger machines never stand in its
-- way, and a video never stands before a picture. Needs are rounded up to classes, so lanes are few.

create table segmentation.lanes (
    id integer generated always as identity primary key,
    kind text not null,
    memory_mb integer not null,
    pixels integer not null,
    model_revision text,
    dtype text,

    constraint lanes_kind_known check (kind in ('image', 'video')),
    constraint lanes_memory_mb_not_negative check (memory_mb >= 0),
    constraint lanes_pixels_not_negative check (pixels >= 0),
    constraint lanes_one_per_need unique nulls not distinct (kind, memory_mb, pixels, model_revision, dtype)
);
comment on table segmentation.lanes is 'A lane: what its tasks need of a machine.';
comment on column segmentation.lanes.memory_mb is 'GPU memory, MiB; 0: whatever there is.';
comment on column segmentation.lanes.pixels is 'Size of its pictures, rounded up to a class; 0: not known.';

alter table segmentation.lanes enable row level security;
create policy "Nobody reads lanes but functions" on segmentation.lanes
for select to authenticated
using (false);

insert into segmentation.lanes (kind, memory_mb, pixels) values ('image', 0, 0), ('video', 0, 0);

create function segmentation.can_do(p_capabilities jsonb, p_lane segmentation.lanes)
returns boolean
language sql
immutable
security invoker
set search_path = ''
as $$
    select
        coalesce(p_capabilities -> 'kinds', '["image"]') ? p_lane.kind
        and coalesce((p_capabilities ->> 'memory_mb')::numeric, 0) >= p_lane.memory_mb
        and coalesce((p_capabilities ->> 'max_pixels')::numeric >= p_lane.pixels, true)
        and coalesce(p_capabilities ->> 'model_revision' = p_lane.model_revision, p_lane.model_revision is null)
        and coalesce(p_capabilities ->> 'dtype' = p_lane.dtype, p_lane.dtype is null);
$$;
comment on function segmentation.can_do is 'Can a worker with these capabilities do the tasks of that lane?';
revoke execute on function segmentation.can_do from public;

create function segmentation.is_blocked(p_lane segmentation.lanes)
returns boolean
language sql
stable
security invoker
set search_path = ''
as $$
    select not exists (
        select 1 from segmentation.workers
        where
            -- Said here too, so that those long gone cost nothing.
            workers.last_seen_at > now() - interval '2 minutes'
            and segmentation.is_online(workers)
            and segmentation.can_do(workers.capabilities, p_lane)
    );
$$;
comment on function segmentation.is_blocked is 'Is nobody online who can do the tasks of that lane?';
revoke execute on function segmentation.is_blocked from public;

create function segmentation.mark_of(p_lane_id integer)
returns text
language sql
stable
security invoker
set search_path = ''
as $$
    select 'no_capable_worker' from segmentation.lanes
    where lanes.id = p_lane_id and segmentation.is_blocked(lanes);
$$;
comment on function segmentation.mark_of is 'What blocked_by of a task that waits in that lane is now.';
revoke execute on function segmentation.mark_of from public;

create function segmentation.memory_class(p_memory_mb integer)
returns integer
language sql
immutable
security invoker
set search_path = ''
as $$
    select coalesce(min(size.class), 0)
    from (
        -- What cards have, in GiB. They report less than their name says: a tenth less where ECC
        -- takes its share, else up to a sixty-fourth. So a card is found by what it reports.
        select floor(card.gib * 1024 * part.reported)::integer as class
        from unnest(array[8, 12, 16, 24, 32, 40, 48, 64, 80, 96, 141, 192, 288, 1024]) as card (gib)
        cross join unnest(array[0.9, 0.984375, 1]) as part (reported)
    ) as size
    where p_memory_mb > 0 and size.class >= p_memory_mb;
$$;
comment on function segmentation.memory_class is
'The memory a task is given a lane for: what it asks for, rounded up to what cards have; MiB. 0: whatever there is.';
revoke execute on function segmentation.memory_class from public;

create function segmentation.lane_for(
    p_kind text, p_memory_mb integer, p_pixels integer, p_model_revision text, p_dtype text
)
returns segmentation.lanes
language plpgsql
security invoker
set search_path = ''
as $$
declare
    lane segmentation.lanes;
begin
    loop
        select * into lane from segmentation.lanes
        where
            lanes.kind = p_kind and lanes.memory_mb = p_memory_mb and lanes.pixels = p_pixels
            and lanes.model_revision is not distinct from p_model_revision
            and lanes.dtype is not distinct from p_dtype
        -- So that it is not pruned before its first task stands in it.
        for key share;
        if found then
            return lane;
        end if;
        insert into segmentation.lanes (kind, memory_mb, pixels, model_revision, dtype)
        values (p_kind, p_memory_mb, p_pixels, p_model_revision, p_dtype)
        on conflict do nothing;
    end loop;
end;
$$;
comment on function segmentation.lane_for is 'The lane of such needs; made when it is the first of them.';
revoke execute on function segmentation.lane_for from public;

create function segmentation.lane_of(p_kind text, p_needs jsonb)
returns segmentation.lanes
language plpgsql
security invoker
set search_path = ''
as $$
declare
    pixels integer := (p_needs ->> 'pixels')::integer;
    revision text := p_needs ->> 'model_revision';
begin
    -- Else anybody could make lanes without end.
    if revision is not null and not exists (
        select 1 from segmentation.workers where workers.capabilities ->> 'model_revision' = revision
    ) then
        perform segmentation.refuse(400, 'invalid_request', format('No machine has the model revision %L.', revision));
    end if;
    return segmentation.lane_for(
        p_kind,
        segmentation.memory_class(coalesce((p_needs ->> 'memory_mb')::integer, 0)),
        -- Few classes, so that few lanes; 12 and 25 megapixels are what cameras have.
        coalesce((
            select min(class) from unnest(array[0, 1000000, 4000000, 12000000, 25000000, 50000000]) as class
            where class >= coalesce(pixels, 0)
        ), 2147483647),
        revision,
        p_needs ->> 'dtype'
    );
end;
$$;
comment on function segmentation.lane_of is 'The lane of a new task.';
revoke execute on function segmentation.lane_of from public;

create function segmentation.prune_lanes()
returns integer
language plpgsql
security invoker
set search_path = ''
as $$
declare
    idle integer[];
    pruned integer;
begin
    -- Locked first and looked at again: whoever joins a lane holds it until their turn is there.
    idle := array(
        select lanes.id from segmentation.lanes
        where
            (lanes.memory_mb > 0 or lanes.pixels > 0 or lanes.model_revision is not null or lanes.dtype is not null)
            and not exists (select 1 from segmentation.turns where turns.lane_id = lanes.id)
        for update skip locked
    );
    delete from segmentation.lanes
    where
        lanes.id = any(idle)
        and not exists (select 1 from segmentation.turns where turns.lane_id = lanes.id)
        and not exists (
            -- What is in work may come back.
            select 1 from segmentation.attempts
            inner join public.segmentation_results as task on attempts.result_id = task.id
            where attempts.ended_at is null and task.lane_id = lanes.id
        );
    get diagnostics pruned = row_count;
    return pruned;
end;
$$;
comment on function segmentation.prune_lanes is 'Remove the lanes that nobody needs now; how many.';
revoke execute on function segmentation.prune_lanes from public;
