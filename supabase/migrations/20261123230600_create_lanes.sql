-- Lanes: tasks that need the same of a machine wait in the same lane.
--
-- A worker looks only into lanes that it can do, so tasks for bigger machines never stand in its
-- way, and a video never stands before a picture.

create table segmentation.lanes (
    id integer generated always as identity primary key,
    kind text not null,
    memory_mb integer not null,
    pixels integer not null,
    model_revision text,
    dtype text,
    blocked boolean not null default false,
    unmarked boolean not null default false,

    constraint lanes_kind_known check (kind in ('image', 'video')),
    constraint lanes_memory_mb_not_negative check (memory_mb >= 0),
    constraint lanes_pixels_not_negative check (pixels >= 0),
    constraint lanes_one_per_need unique nulls not distinct (kind, memory_mb, pixels, model_revision, dtype)
);
comment on table segmentation.lanes is 'A lane: what its tasks need of a machine.';
comment on column segmentation.lanes.memory_mb is 'GPU memory, MiB; 0: whatever there is.';
comment on column segmentation.lanes.pixels is 'Size of its pictures, rounded up to a class; 0: not known.';
comment on column segmentation.lanes.blocked is 'Nobody online could do it when last looked.';
comment on column segmentation.lanes.unmarked is 'Its tasks do not all say yet what `blocked` says.';

insert into segmentation.lanes (kind, memory_mb, pixels) values ('image', 0, 0), ('video', 0, 0);

alter table segmentation.lanes enable row level security;

create policy "Nobody reads lanes but functions" on segmentation.lanes
for select to authenticated
using (false);

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
            and lanes.dtype is not distinct from p_dtype;
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
